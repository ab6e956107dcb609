// Releases: a network on disk with all that is needed to use it, to go on training, and to trust it.

import Bytes
import JSON
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// What a release says about itself.
public struct ReleaseManifest: Sendable, Equatable {
    public static let formatVersion: Int64 = 1

    public var configuration: ModelConfiguration
    /// Kernels that trained it.
    public var numerics = ""
    /// Names of the domains by number, and of a table's rows from row 1 on, by table.
    public var domains: [String] = []
    public var vocabulary: [String: [String]] = [:]
    /// Training settings and metrics, as the trainer wants to state them.
    public var settings: JSONValue = .object([])
    public var metrics: JSONValue = .object([])
    /// Where the training examples began and ended, in milliseconds of event time.
    public var trainedFrom: Int64 = 0
    public var trainedTo: Int64 = 0
    /// SHA-256 of the weights file; set by `write`.
    public var weightsHash = ""
    /// SHA-256 of the manifest without this member: the release's name; set by `write`.
    public private(set) var hash = ""

    public init(_ configuration: ModelConfiguration) { self.configuration = configuration }

    private var members: [JSONMember] {
        [
            JSONMember("format_version", .integer(Self.formatVersion)),
            JSONMember("configuration", configuration.json),
            JSONMember("numerics", .text(numerics)),
            JSONMember("domains", .array(domains.map { .text($0) })),
            JSONMember(
                "vocabulary",
                .object(
                    vocabulary.sorted { $0.key < $1.key }.map {
                        JSONMember($0.key, .array($0.value.map { .text($0) }))
                    })),
            JSONMember("settings", settings),
            JSONMember("metrics", metrics),
            JSONMember("trained_from_ms", .integer(trainedFrom)),
            JSONMember("trained_to_ms", .integer(trainedTo)),
            JSONMember("weights_sha256", .text(weightsHash)),
        ]
    }

    mutating func seal() -> [UInt8] {
        hash = JSONValue.object(members).canonicalBytes.lend { SHA256.hex($0) }
        return JSONValue.object(members + [JSONMember("sha256", .text(hash))]).canonicalBytes
    }

    /// Reads a manifest; every byte counts: only the canonical form of an intact one is accepted.
    init(_ bytes: [UInt8], from path: String) throws(ReleaseError) {
        let json: JSONValue
        do { json = try JSONValue(parsing: bytes) } catch {
            throw ReleaseError("\(path) is not JSON: \(error)")
        }
        guard let version = json["format_version"]?.integer else {
            throw ReleaseError("\(path) names no format_version")
        }
        guard version == Self.formatVersion else {
            throw ReleaseError(
                "\(path) has the format version \(version); this program reads version "
                    + "\(Self.formatVersion)")
        }
        guard let all = json.members, let stated = json["sha256"]?.text,
            json.canonicalBytes == bytes,
            JSONValue.object(all.filter { $0.name != "sha256" }).canonicalBytes
                .lend({ SHA256.hex($0) }) == stated
        else { throw ReleaseError("\(path) was changed after it was written (SHA-256 differs)") }
        guard let configuration = json["configuration"] else {
            throw ReleaseError("\(path) names no configuration")
        }
        try self.init(ModelConfiguration(configuration))
        numerics = json["numerics"]?.text ?? ""
        domains = json["domains"]?.array?.compactMap(\.text) ?? []
        for member in json["vocabulary"]?.members ?? [] {
            vocabulary[member.name] = member.value.array?.compactMap(\.text) ?? []
        }
        settings = json["settings"] ?? .object([])
        metrics = json["metrics"] ?? .object([])
        trainedFrom = json["trained_from_ms"]?.integer ?? 0
        trainedTo = json["trained_to_ms"]?.integer ?? 0
        weightsHash = json["weights_sha256"]?.text ?? ""
        hash = stated
    }
}

/// A network with its manifest and, where they were kept, its optimizer's accumulators.
public struct Release {
    public static let weightsName = "weights.safetensors"
    public static let manifestName = "manifest.json"

    public var manifest: ReleaseManifest
    public let parameters: Parameters
    public let optimizer: Optimizer?

    public init(_ manifest: ReleaseManifest, _ parameters: Parameters, _ optimizer: Optimizer?) {
        self.manifest = manifest
        self.parameters = parameters
        self.optimizer = optimizer
    }

    /// Writes the release into `folder`: weights first, the manifest that vouches for them last, each
    /// whole or not at all.
    ///
    /// - Returns: the release's hash, which is its name.
    @discardableResult
    public mutating func write(to folder: String) throws(ReleaseError) -> String {
        mkdir(folder, 0o755)
        manifest.numerics = KernelChoice.current?.rawValue ?? manifest.numerics
        var writer = SafetensorsWriter(metadata: [("format", "coldstream-release")])
        parameters.forEachTensor { name, shape, values in
            writer.add(name, shape: shape, values)
        }
        if let optimizer {
            for (table, squares) in zip(parameters.tables, optimizer.tableSquares) {
                writer.add(
                    "optimizer." + table.name, shape: [table.rows, table.width], squares.base)
            }
            for tensor in parameters.layout.tensors {
                writer.add(
                    "optimizer." + tensor.name, shape: tensor.shape,
                    optimizer.squares.base + tensor.range.lowerBound)
            }
        }
        do {
            manifest.weightsHash = try writer.write(to: folder + "/" + Self.weightsName)
            let bytes = manifest.seal()
            let file = try DurableFile(folder + "/" + Self.manifestName)
            try file.write(bytes)
            try file.commit()
        } catch { throw ReleaseError("the release was not written: \(error)") }
        return manifest.hash
    }

    /// Reads and checks the release in `folder`.
    ///
    /// - Parameter hash: the name under which it is expected; nil for whatever is there.
    /// - Throws: a sentence if anything is missing, torn, changed, of another version or shape.
    public init(_ folder: String, expecting hash: String? = nil) throws(ReleaseError) {
        let path = folder + "/" + Self.manifestName
        let file: SafetensorsFile
        do {
            let bytes = try MappedFile(path).lend { $0.copy() }
            manifest = try ReleaseManifest(bytes, from: path)
            if let hash, hash != manifest.hash {
                throw ReleaseError("\(path) is the release \(manifest.hash), not \(hash)")
            }
            let weights = folder + "/" + Self.weightsName
            let found = try MappedFile(weights).lend { SHA256.hex($0) }
            guard found == manifest.weightsHash else {
                throw ReleaseError(
                    "\(weights) was changed after it was written: its SHA-256 is \(found), the "
                        + "manifest says \(manifest.weightsHash)")
            }
            file = try SafetensorsFile(weights)
        } catch let error as ReleaseError {
            throw error
        } catch { throw ReleaseError("\(error)") }
        parameters = Parameters(manifest.configuration)
        let isWarm = file.entries.keys.contains { $0.hasPrefix("optimizer.") }
        optimizer = isWarm ? Optimizer(parameters, OptimizerSettings()) : nil
        do throws(SafetensorsError) {
            for table in parameters.tables {
                if let entry = file.entries[table.name], entry.shape.count == 2,
                    entry.shape[1] == table.width
                {
                    table.grow(to: entry.shape[0])
                }
            }
            try Self.read(file, "", parameters)
            if let optimizer { try Self.readAccumulators(file, parameters, optimizer) }
        } catch { throw ReleaseError("\(error)") }
    }

    private static func read(
        _ file: SafetensorsFile, _ prefix: String, _ parameters: Parameters
    ) throws(SafetensorsError) {
        for table in parameters.tables {
            try file.withFloats(prefix + table.name, shape: [table.rows, table.width]) {
                table.weights.base.update(from: $0, count: $1)
            }
        }
        for tensor in parameters.layout.tensors {
            try file.withFloats(prefix + tensor.name, shape: tensor.shape) {
                (parameters.block.base + tensor.range.lowerBound).update(from: $0, count: $1)
            }
        }
    }

    private static func readAccumulators(
        _ file: SafetensorsFile, _ parameters: Parameters, _ optimizer: Optimizer
    ) throws(SafetensorsError) {
        optimizer.fitTables(parameters)
        for (table, squares) in zip(parameters.tables, optimizer.tableSquares) {
            try file.withFloats("optimizer." + table.name, shape: [table.rows, table.width]) {
                squares.base.update(from: $0, count: $1)
            }
        }
        for tensor in parameters.layout.tensors {
            try file.withFloats("optimizer." + tensor.name, shape: tensor.shape) {
                (optimizer.squares.base + tensor.range.lowerBound).update(from: $0, count: $1)
            }
        }
    }
}
