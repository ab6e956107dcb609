// The forward pass against the reference's numbers: a tiny random BERT always, the real one where it is
// installed; and folders that must be refused.

import Bytes
import Foundation
import JSON
import Tensors
import Testing

@testable import TextEncoding

/// A folder of its own, removed when the test lets go of it.
final class ModelFolder {
    let path: String

    /// A copy of golden/tiny.
    init() throws {
        path = NSTemporaryDirectory() + "coldstream-text-" + UUID().uuidString
        try FileManager.default.copyItem(atPath: Golden.path("tiny"), toPath: path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws {
        let url = URL(fileURLWithPath: path).appendingPathComponent(name)
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    func text(_ name: String) throws -> String {
        try String(contentsOfFile: path + "/" + name, encoding: .utf8)
    }

    /// Replaces some text in a file, which must be there.
    func replace(_ name: String, _ old: String, _ new: String) throws {
        let before = try text(name)
        #expect(before.contains(old))
        try write(name, before.replacingOccurrences(of: old, with: new))
    }

    /// Writes the tiny weights in another type of the format.
    func narrowWeights(_ type: String, _ bits: (Float) -> UInt16) throws {
        let file = try SafetensorsFile(path + "/model.safetensors")
        var header: [JSONMember] = []
        var data: [UInt8] = []
        for (name, entry) in file.entries.sorted(by: { $0.key < $1.key }) {
            let start = data.count
            for value in try file.floats(name) {
                data += [UInt8(truncatingIfNeeded: bits(value)), UInt8(bits(value) >> 8)]
            }
            header.append(
                JSONMember(
                    name,
                    .object([
                        JSONMember("dtype", .text(type)),
                        JSONMember("shape", .array(entry.shape.map { .integer(Int64($0)) })),
                        JSONMember(
                            "data_offsets",
                            .array([.integer(Int64(start)), .integer(Int64(data.count))])),
                    ])))
        }
        let json = JSONValue.object(header).canonicalBytes
        let length = (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) }
        try Data(length + json + data).write(to: URL(fileURLWithPath: path + "/model.safetensors"))
    }
}

@Suite struct BertEncoderTests {
    private func goldenIDs() throws -> [[Int32]] {
        let file = try SafetensorsFile(Golden.path("tiny/outputs.safetensors"))
        let all = try file.words("ids", as: Int64.self, named: "I64").map { Int32($0) }
        var ids: [[Int32]] = []
        var at = 0
        for length in try file.words("lengths", as: Int64.self, named: "I64") {
            ids.append(Array(all[at..<at + Int(length)]))
            at += Int(length)
        }
        return ids
    }

    private func differences(_ a: [Float], _ b: [Float], width: Int) -> (
        largest: Float, leastCosine: Float
    ) {
        var (largest, cosine) = (Float(0), Float(1))
        for i in 0..<a.count / width {
            let (u, v) = (a[i * width..<(i + 1) * width], b[i * width..<(i + 1) * width])
            largest = max(largest, zip(u, v).map { abs($0 - $1) }.max()!)
            let (uu, vv) = (u.reduce(0) { $0 + $1 * $1 }, v.reduce(0) { $0 + $1 * $1 })
            cosine = min(cosine, zip(u, v).reduce(0) { $0 + $1.0 * $1.1 } / (uu * vv).squareRoot())
        }
        return (largest, cosine)
    }

    private func tinyVectors(_ folder: String) throws -> [Float] {
        let encoder = try BertEncoder(folder: folder)
        let ids = try goldenIDs()
        var vectors = [Float](repeating: .nan, count: ids.count * encoder.dimension)
        vectors.withUnsafeMutableBufferPointer { encoder.encode(ids: ids, into: $0.baseAddress!) }
        return vectors
    }

    @Test(arguments: ["mean", "first"])
    func `a tiny random BERT gives the reference's vectors`(pooling: String) throws {
        let folder = try ModelFolder()
        if pooling == "first" {
            try folder.write(
                "1_Pooling/config.json",
                #"{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false}"#)
        }
        let expected = try SafetensorsFile(Golden.path("tiny/outputs.safetensors")).floats(pooling)
        let (largest, cosine) = differences(try tinyVectors(folder.path), expected, width: 24)
        #expect(largest < 1e-5 && cosine > 0.999_999, "\(largest), \(cosine)")
    }

    @Test func `weights in half precision are read too`() throws {
        let expected = try SafetensorsFile(Golden.path("tiny/outputs.safetensors")).floats("mean")
        let half = try ModelFolder()
        try half.narrowWeights("F16") { Float16($0).bitPattern }
        #expect(differences(try tinyVectors(half.path), expected, width: 24).leastCosine > 0.999)
        let brain = try ModelFolder()
        try brain.narrowWeights("BF16") {
            UInt16(truncatingIfNeeded: ($0.bitPattern + 0x8000) >> 16)
        }
        #expect(differences(try tinyVectors(brain.path), expected, width: 24).leastCosine > 0.99)
    }

    @Test func `packing changes last bits only, and the same call gives the same bits`() throws {
        let texts = (0..<40).map { i in
            Array(String(repeating: "the films of a ", count: i % 7).utf8)
        }
        func vectors(_ encoder: BertEncoder, _ texts: [[UInt8]]) throws -> [Float] {
            var block = [Float](repeating: .nan, count: texts.count * 24)
            try block.withUnsafeMutableBufferPointer { try encoder.encode(texts, into: $0) }
            return block
        }
        let folder = try ModelFolder()
        let packed = try vectors(try BertEncoder(folder: folder.path), texts)
        #expect(packed == (try vectors(try BertEncoder(folder: folder.path), texts)))
        let single = try BertEncoder(folder: folder.path, packTokens: 1)
        let alone = try texts.flatMap { try vectors(single, [$0]) }
        #expect(zip(packed, alone).allSatisfy { abs($0 - $1) < 1e-5 })
        for i in texts.indices {
            let length = packed[i * 24..<(i + 1) * 24].reduce(0) { $0 + $1 * $1 }
            #expect(i % 7 == 0 ? length == 0 : abs(length - 1) < 1e-5, "no text is no vector")
        }
    }

    @Test func `an identity names weights, pooling and length of text`() throws {
        let folder = try ModelFolder()
        let plain = try BertEncoder(folder: folder.path).identity
        #expect(plain == (try BertEncoder(folder: folder.path + "/").identity))
        #expect(plain.name.hasSuffix("/mean"))
        #expect(
            plain.hash != (try BertEncoder(folder: folder.path, maximumTokens: 12).identity.hash))
        try folder.write("1_Pooling/config.json", #"{"pooling_mode":"cls"}"#)
        #expect(plain.hash != (try BertEncoder(folder: folder.path).identity.hash))
    }

    @Test(arguments: [
        ("\"model_type\": \"bert\"", "\"model_type\": \"roberta\"", "says model_type roberta"),
        ("\"hidden_act\": \"gelu\"", "\"hidden_act\": \"gelu_new\"", "says hidden_act gelu_new"),
        ("\"absolute\"", "\"relative_key\"", "says position_embedding_type relative_key"),
        ("\"num_attention_heads\": 3", "\"num_attention_heads\": 5", "no multiple of its 5 heads"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "more than the 1 layers"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "has no tensor encoder.layer.2"),
        ("\"intermediate_size\": 40", "\"intermediate_size\": 41", "shape [40, 24], not [41, 24]"),
        ("\"vocab_size\": 62", "\"vocab_size\": 61", "has 62 tokens, more than the 61"),
        ("\"hidden_size\": 24", "\"hidden_size\": -24", "gives no hidden_size"),
        ("{", "[", "cannot be read"),
    ])
    func `a config that is not understood is refused with a sentence`(
        old: String, new: String, reason: String
    ) throws {
        let folder = try ModelFolder()
        try folder.replace("config.json", old, new)
        do {
            _ = try BertEncoder(folder: folder.path)
            Issue.record("accepted \(new)")
        } catch {
            #expect("\(error)".contains(reason), "\(error)")
        }
    }

    @Test func `other poolings, modules and tokenizers are refused with a sentence`() throws {
        let cases = [
            (
                "1_Pooling/config.json",
                #"{"pooling_mode_mean_tokens":true,"pooling_mode_max_tokens":true}"#,
                "pools by mean_tokens and max_tokens"
            ),
            (
                "modules.json",
                #"[{"path":"2_Dense","type":"sentence_transformers.models.Dense"}]"#,
                "has a module Dense"
            ),
            ("tokenizer_config.json", #"{"do_lower_case":false}"#, "do_lower_case false"),
            ("vocab.txt", "the\nfilm\n", "has no token [UNK]"),
        ]
        for (name, text, reason) in cases {
            let folder = try ModelFolder()
            try folder.write(name, text)
            do {
                _ = try BertEncoder(folder: folder.path)
                Issue.record("accepted \(text)")
            } catch {
                #expect("\(error)".contains(reason), "\(error)")
            }
        }
        let error = #expect(throws: TextEncodingError.self) { try BertEncoder(folder: "/nowhere") }
        #expect(error?.path == "/nowhere/config.json")
    }

    @Test func `files that are not the pinned ones are refused by name and hash`() throws {
        let folder = try ModelFolder()
        let pinned = try #require(InstalledModel.files.first)
        let found = try MappedFile(folder.path + "/" + pinned.path).lend { SHA256.hex($0) }
        let error = #expect(throws: TextEncodingError.self) {
            try InstalledModel.verify(folder.path)
        }
        #expect(error?.path == "\(folder.path)/\(pinned.path)")
        #expect(error?.reason.contains(found) == true && found != pinned.sha256)
        #expect(error?.reason.contains(pinned.sha256) == true)
    }

    static let installed: String? = {
        guard let folder = InstalledModel.folder(ProcessInfo.processInfo.environment),
            InstalledModel.isThere(folder)
        else { return nil }
        return folder
    }()

    @Test(
        .enabled(
            if: installed != nil,
            "no weights: `coldstream text install` or COLDSTREAM_TEXT_MODEL brings this test"))
    func `vectors of all-MiniLM-L6-v2 are those of sentence-transformers`() throws {
        let encoder = try BertEncoder(folder: Self.installed!)
        let file = try SafetensorsFile(Golden.path("vectors.safetensors"))
        let expected = try file.words("vectors", as: Int16.self, named: "I16").map {
            Float($0) / 32_768
        }
        let bytes = try file.words("texts", as: UInt8.self, named: "U8")
        var texts: [[UInt8]] = []
        var at = 0
        for length in try file.words("lengths", as: Int64.self, named: "I64") {
            texts.append(Array(bytes[at..<at + Int(length)]))
            at += Int(length)
        }
        #expect(texts.count >= 200)
        var vectors = [Float](repeating: .nan, count: texts.count * encoder.dimension)
        try vectors.withUnsafeMutableBufferPointer { try encoder.encode(texts, into: $0) }
        let (largest, cosine) = differences(vectors, expected, width: encoder.dimension)
        #expect(largest <= 1e-4 && cosine >= 0.9999, "\(largest), \(cosine)")
        #expect(try InstalledModel.verify(Self.installed!).count == 3)
    }
}
