// The safetensors format: eight bytes of length, a JSON header, then the tensors' bytes.
//
// https://huggingface.co/docs/safetensors, read strictly: no holes, no overlaps, shapes that fit.

import Bytes
import JSON

#if canImport(Glibc)
    import Glibc
#endif

/// A file that is not what it should be.
public struct SafetensorsError: Error, Equatable, CustomStringConvertible {
    public let path: String
    public let reason: String

    public init(_ path: String, _ reason: String) {
        self.path = path
        self.reason = reason
    }

    public var description: String { "\(path) \(reason)" }
}

/// A safetensors file, mapped into memory.
public struct SafetensorsFile: Sendable {
    /// One tensor's entry; its bytes are `range` of the file.
    public struct Entry: Sendable, Equatable {
        public let type: String
        public let shape: [Int]
        public let range: Range<Int>

        /// How many values the shape holds.
        public var count: Int { shape.reduce(1, *) }
    }

    public let file: MappedFile
    public let entries: [String: Entry]
    /// The header's `__metadata__`: text by name.
    public let metadata: [String: String]

    /// Bytes of a value of the format's types.
    static let sizes: [String: Int] = [
        "BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4,
        "F32": 4, "F64": 8, "I64": 8, "U64": 8,
    ]

    /// Maps and checks the file at `path`.
    ///
    /// - Throws: a sentence that says what is wrong with it.
    public init(_ path: String) throws(SafetensorsError) {
        let file = try MappedFile(path)
        func refuse(_ reason: String) -> SafetensorsError { SafetensorsError(path, reason) }
        guard file.count >= 8 else {
            throw refuse("has \(file.count) bytes, fewer than a safetensors header needs")
        }
        let length = UnsafeRawPointer(file.bytes.base).loadUnaligned(as: UInt64.self)
        guard length <= 100_000_000, Int(length) <= file.count - 8 else {
            throw refuse("says its header has \(length) bytes, of \(file.count - 8) there are")
        }
        let header: JSONValue
        do {
            header = try JSONValue(
                parsing: file.bytes.slice(8, 8 + Int(length)), maximumBytes: 100_000_000)
        } catch { throw refuse("has a header that is not JSON: \(error)") }
        guard let members = header.members else { throw refuse("has a header that is no object") }
        let data = 8 + Int(length)
        var entries: [String: Entry] = [:]
        var metadata: [String: String] = [:]
        for member in members {
            if member.name == "__metadata__" {
                for pair in member.value.members ?? [] { metadata[pair.name] = pair.value.text }
                continue
            }
            guard let type = member.value["dtype"]?.text, let size = Self.sizes[type],
                let shape = member.value["shape"]?.array?.map({ $0.integer ?? -1 }),
                let offsets = member.value["data_offsets"]?.array?.map({ $0.integer ?? -1 }),
                offsets.count == 2
            else { throw refuse("describes the tensor \(member.name) in a way we cannot read") }
            guard shape.allSatisfy({ $0 >= 0 && $0 < 1 << 40 }), shape.count <= 8,
                offsets[0] >= 0, offsets[0] <= offsets[1],
                offsets[1] <= Int64(file.count - data)
            else { throw refuse("places the tensor \(member.name) outside of the file") }
            var bytes = size
            for side in shape {
                let (product, overflow) = bytes.multipliedReportingOverflow(by: Int(side))
                guard !overflow else { throw refuse("has a tensor \(member.name) beyond all size") }
                bytes = product
            }
            guard bytes == Int(offsets[1] - offsets[0]) else {
                throw refuse(
                    "gives \(offsets[1] - offsets[0]) bytes to the tensor \(member.name), whose "
                        + "shape needs \(bytes)")
            }
            guard
                entries.updateValue(
                    Entry(
                        type: type, shape: shape.map { Int($0) },
                        range: data + Int(offsets[0])..<data + Int(offsets[1])),
                    forKey: member.name) == nil
            else { throw refuse("names the tensor \(member.name) twice") }
        }
        var end = data
        for (name, entry) in entries.sorted(by: {
            ($0.value.range.lowerBound, $0.value.range.upperBound, $0.key)
                < ($1.value.range.lowerBound, $1.value.range.upperBound, $1.key)
        }) {
            guard entry.range.lowerBound == end else {
                throw refuse("leaves a hole or an overlap before the tensor \(name)")
            }
            end = entry.range.upperBound
        }
        guard end == file.count else {
            throw refuse("goes on for \(file.count - end) bytes after its last tensor")
        }
        self.file = file
        self.entries = entries
        self.metadata = metadata
    }

    /// Lends the floats of a tensor for the length of `body`.
    ///
    /// - Throws: where there is no F32 tensor of that name, or its shape is another.
    public func withFloats<Result>(
        _ name: String, shape: [Int]? = nil, _ body: (UnsafePointer<Float>, Int) -> Result
    ) throws(SafetensorsError) -> Result {
        guard let entry = entries[name] else {
            throw SafetensorsError(file.path, "has no tensor \(name)")
        }
        guard entry.type == "F32" else {
            throw SafetensorsError(file.path, "holds \(name) as \(entry.type), not F32")
        }
        if let shape, shape != entry.shape {
            throw SafetensorsError(
                file.path, "holds \(name) with the shape \(entry.shape), not \(shape)")
        }
        let address = UnsafeRawPointer(file.bytes.base + entry.range.lowerBound)
        if Int(bitPattern: address) % 4 != 0 {
            let copy = Block(count: entry.count)
            memcpy(copy.base, address, entry.count * 4)
            return withExtendedLifetime(copy) { body(copy.base, entry.count) }
        }
        return withExtendedLifetime(file) {
            body(address.assumingMemoryBound(to: Float.self), entry.count)
        }
    }

    /// Where the floats of an F32 tensor lie in the mapped file; valid while `file` lives. Nil where
    /// they do not lie at a multiple of four bytes.
    ///
    /// - Throws: where there is no F32 tensor of that name, or its shape is another.
    public func mapped(_ name: String, shape: [Int]) throws(SafetensorsError)
        -> UnsafePointer<Float>?
    {
        let entry = try entry(name, shape: shape)
        guard entry.type == "F32" else {
            throw SafetensorsError(file.path, "holds \(name) as \(entry.type), not F32")
        }
        let address = UnsafeRawPointer(file.bytes.base + entry.range.lowerBound)
        if Int(bitPattern: address) % 4 != 0 { return nil }
        return address.assumingMemoryBound(to: Float.self)
    }

    /// A copy of an F32, F16 or BF16 tensor as floats.
    ///
    /// - Throws: where there is no such tensor of that name, or its shape is another.
    public func widened(_ name: String, shape: [Int]) throws(SafetensorsError) -> Block {
        let entry = try entry(name, shape: shape)
        let base = UnsafeRawPointer(file.bytes.base + entry.range.lowerBound)
        let block = Block(count: entry.count)
        switch entry.type {
        case "F32": memcpy(block.base, base, entry.count * 4)
        case "F16":
            for i in 0..<entry.count {
                let bits = base.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self)
                block.base[i] = Float(Float16(bitPattern: bits))
            }
        case "BF16":
            for i in 0..<entry.count {
                let bits = base.loadUnaligned(fromByteOffset: 2 * i, as: UInt16.self)
                block.base[i] = Float(bitPattern: UInt32(bits) << 16)
            }
        default:
            throw SafetensorsError(
                file.path, "holds \(name) as \(entry.type), not F32, F16 or BF16")
        }
        return block
    }

    private func entry(_ name: String, shape: [Int]) throws(SafetensorsError) -> Entry {
        guard let entry = entries[name] else {
            throw SafetensorsError(file.path, "has no tensor \(name)")
        }
        guard shape == entry.shape else {
            throw SafetensorsError(
                file.path, "holds \(name) with the shape \(entry.shape), not \(shape)")
        }
        return entry
    }

    /// A tensor's floats, copied.
    public func floats(_ name: String) throws(SafetensorsError) -> [Float] {
        try withFloats(name) { Array(UnsafeBufferPointer(start: $0, count: $1)) }
    }

    /// A tensor of 64-bit integers or doubles, copied bit by bit.
    public func words<Value: BitwiseCopyable>(
        _ name: String, as type: Value.Type, named typeName: String
    ) throws(SafetensorsError) -> [Value] {
        guard let entry = entries[name], entry.type == typeName else {
            throw SafetensorsError(file.path, "has no tensor \(name) of type \(typeName)")
        }
        let base = UnsafeRawPointer(file.bytes.base + entry.range.lowerBound)
        return (0..<entry.count).map {
            base.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Value>.stride, as: Value.self)
        }
    }
}

/// A safetensors file in the making.
public struct SafetensorsWriter {
    private var parts: [(name: String, type: String, shape: [Int], bytes: UnsafeRawBufferPointer)] =
        []
    private let metadata: [(String, String)]

    public init(metadata: [(String, String)] = []) { self.metadata = metadata }

    /// Adds a tensor whose memory is lent until `write` returns.
    public mutating func add(_ name: String, shape: [Int], _ values: UnsafePointer<Float>) {
        let count = shape.reduce(1, *)
        parts.append(
            (name, "F32", shape, UnsafeRawBufferPointer(start: values, count: count * 4)))
    }

    /// The header's bytes, padded with spaces so that the tensors start at a multiple of 64.
    private func header() -> [UInt8] {
        var members: [JSONMember] = []
        if !metadata.isEmpty {
            members.append(
                JSONMember(
                    "__metadata__",
                    .object(metadata.map { JSONMember($0.0, .text($0.1)) })))
        }
        var offset = 0
        for part in parts {
            members.append(
                JSONMember(
                    part.name,
                    .object([
                        JSONMember("dtype", .text(part.type)),
                        JSONMember("shape", .array(part.shape.map { .integer(Int64($0)) })),
                        JSONMember(
                            "data_offsets",
                            .array([
                                .integer(Int64(offset)), .integer(Int64(offset + part.bytes.count)),
                            ])),
                    ])))
            offset += part.bytes.count
        }
        var bytes = JSONValue.object(members).canonicalBytes
        while (bytes.count + 8) % 64 != 0 { bytes.append(UInt8(ascii: " ")) }
        return bytes
    }

    /// Writes the file to `path` all or nothing: a temporary file beside it, fsync, rename.
    ///
    /// - Returns: the SHA-256 of the file, in hexadecimal digits.
    public func write(to path: String) throws(SafetensorsError) -> String {
        let header = header()
        var hash = SHA256()
        let file = try DurableFile(path)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        let front = length + header
        front.lend { hash.update($0) }
        try file.write(front)
        for part in parts {
            hash.update(ByteSlice(part.bytes))
            try file.write(part.bytes)
        }
        try file.commit()
        return hash.finishHex()
    }
}
