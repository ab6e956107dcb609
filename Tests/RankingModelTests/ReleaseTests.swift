// Releases come back as they were written, or are refused.

import Foundation
import Tensors
import Testing

@testable import RankingModel

@Suite struct ReleaseTests {
    func folder(_ name: String) throws -> String {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(
            "coldstream-release-\(getpid())-\(name)")
        try? FileManager.default.removeItem(at: url)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url.path
    }

    func bytes(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(filePath: path)))
    }

    func write(_ bytes: [UInt8], _ path: String) throws {
        try Data(bytes).write(to: URL(filePath: path))
    }

    /// The smallest network there is.
    var smallest: ModelConfiguration {
        var c = ModelConfiguration(M: 1)
        (c.d, c.d_id, c.H, c.e1, c.e2, c.t, c.text_dim) = (1, 1, 1, 1, 1, 1, 1)
        (c.gate, c.backbone, c.da) = (.mean, .single, false)
        return c
    }

    @Test func `weights, accumulators and manifest come back`() throws {
        let c = smallConfiguration().variant("mdf")
        let parameters = perturbedParameters(c, seed: 1)
        let network = Network(parameters)
        let optimizer = Optimizer(parameters, OptimizerSettings())
        let (batch, memory) = randomBatch(c, rows: 20, seed: 2)
        _ = withExtendedLifetime(memory) { network.backward(batch, alpha: 0.1) }
        optimizer.step(network)
        var manifest = ReleaseManifest(c)
        manifest.domains = ["news", "shop", "maps"]
        manifest.vocabulary = ["item.sparse.genres.table": ["a", "b"]]
        (manifest.trainedFrom, manifest.trainedTo) = (5, 9)
        var release = Release(manifest, parameters, optimizer)
        let path = try folder("round")
        let hash = try release.write(to: path)
        let read = try Release(path, expecting: hash)
        #expect(read.manifest == release.manifest)
        for name in parameters.layout.tensors.map(\.name) + parameters.tables.map(\.name) {
            #expect(read.parameters.values(name) == parameters.values(name))
        }
        let squares = try #require(read.optimizer)
        for i in 0..<parameters.layout.count {
            #expect(squares.squares.base[i] == optimizer.squares.base[i])
        }
        #expect(throws: ReleaseError.self) { try Release(path, expecting: "another") }
        // Written twice, the bytes are the same.
        let again = try folder("again")
        #expect(try release.write(to: again) == hash)
    }

    @Test func `a table that has grown comes back with all its rows`() throws {
        let c = smallConfiguration()
        let parameters = perturbedParameters(c, seed: 1)
        parameters.tables[0].begin(row: 14)
        #expect(parameters.tables[0].rows == 15)
        var release = Release(ReleaseManifest(c), parameters, nil)
        let path = try folder("grown")
        try release.write(to: path)
        #expect(try Release(path).parameters.tables[0].rows == 15)
    }

    @Test func `every flipped byte of a small release is noticed`() throws {
        let parameters = Parameters(smallest)
        parameters.initialize(seed: 1)
        var release = Release(ReleaseManifest(smallest), parameters, nil)
        let path = try folder("flip")
        try release.write(to: path)
        _ = try Release(path)
        for name in [Release.weightsName, Release.manifestName] {
            let file = path + "/" + name
            let good = try bytes(file)
            var unnoticed: [Int] = []
            for i in good.indices {
                let handle = try FileHandle(forWritingTo: URL(filePath: file))
                func put(_ byte: UInt8) throws {
                    try handle.seek(toOffset: UInt64(i))
                    try handle.write(contentsOf: [byte])
                }
                try put(good[i] ^ 0x20)
                do {
                    _ = try Release(path)
                    unnoticed.append(i)
                } catch is ReleaseError {}
                try put(good[i])
                try handle.close()
            }
            #expect(unnoticed.isEmpty, "\(name): \(unnoticed)")
        }
        _ = try Release(path)
    }

    @Test func `truncated, missing, wrong version and wrong shape are refused with a sentence`()
        throws
    {
        let parameters = Parameters(smallest)
        parameters.initialize(seed: 1)
        var release = Release(ReleaseManifest(smallest), parameters, nil)
        let path = try folder("bad")
        try release.write(to: path)
        let weights = try bytes(path + "/weights.safetensors")
        let manifest = try bytes(path + "/manifest.json")
        func refusal() -> String {
            do {
                _ = try Release(path)
                return "accepted"
            } catch { return "\(error)" }
        }
        try write(Array(weights.dropLast()), path + "/weights.safetensors")
        #expect(refusal().contains("was changed after it was written"))
        try FileManager.default.removeItem(atPath: path + "/weights.safetensors")
        #expect(refusal().contains("cannot be opened"))
        try write(weights, path + "/weights.safetensors")
        let text = String(decoding: manifest, as: UTF8.self)
        try write(
            Array(text.replacing(#""format_version":1"#, with: #""format_version":2"#).utf8),
            path + "/manifest.json")
        #expect(refusal().contains("format version 2; this program reads version 1"))
        try write(manifest, path + "/manifest.json")

        // A manifest that vouches for a file of other shapes.
        var larger = smallest
        larger.H = 2
        let other = Parameters(larger)
        var liar = Release(ReleaseManifest(larger), other, nil)
        let second = try folder("liar")
        try liar.write(to: second)
        var writer = SafetensorsWriter()
        parameters.forEachTensor { name, shape, values in
            writer.add(name, shape: shape, values)
        }
        let hash = try writer.write(to: second + "/weights.safetensors")
        var sealed = ReleaseManifest(larger)
        sealed.weightsHash = hash
        try write(sealed.seal(), second + "/manifest.json")
        #expect {
            try Release(second)
        } throws: { "\($0)".contains("inp.weight with the shape [1, 5], not [2, 5]") }
    }
}
