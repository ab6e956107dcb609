// Writes a file so that it is there whole or not at all; gzip if its name ends in `.gz`.

import Bytes
import CZlib

#if canImport(Glibc)
    import Glibc
#endif

/// A file in the making: written beside its place, moved there by `finish`.
///
/// Equal bytes in give equal bytes out, compressed too: the gzip header carries no time and no name.
/// A writer that goes away without `finish` leaves nothing behind.
public struct LineWriter: ~Copyable {
    public let path: String
    /// Bytes of content so far, before compression.
    public private(set) var bytesWritten: Int64 = 0

    private let descriptor: Int32
    private let chunk: UnsafeMutablePointer<UInt8>
    private var used = 0
    private let deflater: UnsafeMutablePointer<z_stream>?
    private var isFinished = false

    private static let chunkBytes = 1 << 16

    private var temporaryPath: String { path + ".partial" }

    /// - Parameters:
    ///   - path: where the file is to appear; a file that is there stays until `finish`.
    ///   - compressionLevel: 1 (fast) to 9 (small), used if `path` ends in `.gz`.
    public static func create(
        _ path: String, compressionLevel: Int32 = 6
    ) throws(LineFileError) -> LineWriter {
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
        let descriptor = open(path + ".partial", flags, 0o644)
        guard descriptor >= 0 else { throw LineFileError("write", path) }
        return LineWriter(path, descriptor, path.hasSuffix(".gz") ? compressionLevel : nil)
    }

    /// Writes a whole file at once.
    public static func write(_ bytes: ByteSlice, to path: String) throws(LineFileError) {
        var writer = try create(path)
        try writer.append(bytes)
        try writer.finish()
    }

    private init(_ path: String, _ descriptor: Int32, _ compressionLevel: Int32?) {
        self.path = path
        self.descriptor = descriptor
        chunk = .allocate(capacity: Self.chunkBytes)
        guard let compressionLevel else {
            deflater = nil
            return
        }
        let deflater = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        deflater.initialize(to: z_stream())
        let status = deflateInit2_(
            deflater, compressionLevel, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        precondition(status == Z_OK, "deflateInit2 returned \(status)")
        self.deflater = deflater
    }

    deinit {
        if let deflater {
            deflateEnd(deflater)
            deflater.deallocate()
        }
        chunk.deallocate()
        close(descriptor)
        if !isFinished { unlink(temporaryPath) }
    }

    /// Appends bytes as they are.
    public mutating func append(_ bytes: ByteSlice) throws(LineFileError) {
        bytesWritten += Int64(bytes.count)
        if let deflater {
            try deflate(with: deflater, bytes, flush: Z_NO_FLUSH)
        } else {
            try buffer(bytes)
        }
    }

    /// Appends bytes and a newline.
    public mutating func append(line bytes: ByteSlice) throws(LineFileError) {
        try append(bytes)
        try append(ByteSlice(("\n" as StaticString).utf8Start, count: 1))
    }

    /// Brings everything to the disk and puts the file in its place.
    public consuming func finish() throws(LineFileError) {
        if let deflater { try deflate(with: deflater, .empty, flush: Z_FINISH) }
        try flushChunk()
        guard fsync(descriptor) == 0 else { throw LineFileError("write", path) }
        guard rename(temporaryPath, path) == 0 else { throw LineFileError("replace", path) }
        isFinished = true
        syncFolder()
    }

    /// Makes the renaming itself durable, where the file system lets a folder be synced.
    private func syncFolder() {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    private mutating func deflate(
        with deflater: UnsafeMutablePointer<z_stream>, _ bytes: ByteSlice, flush: Int32
    ) throws(LineFileError) {
        var start = 0
        repeat {
            let count = min(bytes.count - start, 1 << 30)
            deflater.pointee.next_in = UnsafeMutablePointer(mutating: bytes.base + start)
            deflater.pointee.avail_in = UInt32(count)
            start += count
            while true {
                if used == Self.chunkBytes { try flushChunk() }
                let room = UInt32(Self.chunkBytes - used)
                deflater.pointee.next_out = chunk + used
                deflater.pointee.avail_out = room
                let status = CZlib.deflate(deflater, flush)
                precondition(status != Z_STREAM_ERROR, "deflate returned \(status)")
                used += Int(room - deflater.pointee.avail_out)
                if deflater.pointee.avail_out > 0 { break }
            }
        } while start < bytes.count
    }

    private mutating func buffer(_ bytes: ByteSlice) throws(LineFileError) {
        var start = 0
        while start < bytes.count {
            if used == Self.chunkBytes { try flushChunk() }
            let count = min(bytes.count - start, Self.chunkBytes - used)
            memcpy(chunk + used, bytes.base + start, count)
            used += count
            start += count
        }
    }

    private mutating func flushChunk() throws(LineFileError) {
        var start = 0
        while start < used {
            let count = Glibc.write(descriptor, chunk + start, used - start)
            if count < 0 {
                if errno == EINTR { continue }
                throw LineFileError("write", path)
            }
            start += count
        }
        used = 0
    }
}
