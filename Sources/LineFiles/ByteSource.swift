// The bytes of a file, uncompressed on the way if it is gzip.

import CZlib

#if canImport(Glibc)
    import Glibc
#endif

/// An open file. `gzread` is not used: on a pipe it waits until its whole buffer is full.
struct ByteSource: ~Copyable {
    private let path: String
    private let descriptor: Int32
    /// What was read from the file and not handed out: compressed bytes, or the first ones.
    private let chunk: UnsafeMutablePointer<UInt8>
    private var pending: Range<Int>
    /// Nil for a plain file. On the heap, because zlib keeps a pointer to it.
    private let inflater: UnsafeMutablePointer<z_stream>?
    /// Whether the last gzip member ended where the bytes read so far end.
    private var isBetweenMembers = true

    private static let chunkBytes = 1 << 16

    /// - Parameter path: a file, or `-` for standard input.
    static func open(_ path: String) throws(LineFileError) -> ByteSource {
        let descriptor = path == "-" ? dup(STDIN_FILENO) : Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw LineFileError("open", path) }
        let chunk = UnsafeMutablePointer<UInt8>.allocate(capacity: chunkBytes)
        do throws(LineFileError) {
            var count = 0
            while count < 2 {  // a pipe may give a single byte
                let more = try readOnce(descriptor, path, chunk + count, chunkBytes - count)
                if more == 0 { break }
                count += more
            }
            let isGzip = count >= 2 && chunk[0] == 0x1F && chunk[1] == 0x8B
            return ByteSource(path, descriptor, chunk, 0..<count, isGzip: isGzip)
        } catch {
            chunk.deallocate()
            close(descriptor)
            throw error
        }
    }

    private init(
        _ path: String, _ descriptor: Int32, _ chunk: UnsafeMutablePointer<UInt8>,
        _ pending: Range<Int>, isGzip: Bool
    ) {
        self.path = path
        self.descriptor = descriptor
        self.chunk = chunk
        self.pending = pending
        guard isGzip else {
            inflater = nil
            return
        }
        let inflater = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        inflater.initialize(to: z_stream())
        let size = Int32(MemoryLayout<z_stream>.size)
        // 16 above the largest window: gzip, and nothing else.
        let status = inflateInit2_(inflater, 15 + 16, ZLIB_VERSION, size)
        precondition(status == Z_OK, "inflateInit2 returned \(status)")
        self.inflater = inflater
    }

    deinit {
        if let inflater {
            inflateEnd(inflater)
            inflater.deallocate()
        }
        chunk.deallocate()
        close(descriptor)
    }

    /// Whether what is read is a file on disk, which nobody waits for.
    var isFile: Bool {
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Whether there are bytes to read, or their end, within so many milliseconds.
    func hasBytes(within milliseconds: Int) -> Bool {
        if !pending.isEmpty { return true }
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&state, 1, Int32(clamping: milliseconds)) > 0
    }

    /// Reads at least one byte into `target`; 0 only at the end of the file.
    mutating func read(
        into target: UnsafeMutablePointer<UInt8>, capacity: Int
    ) throws(LineFileError) -> Int {
        guard let inflater else {
            guard pending.isEmpty else {
                let count = min(capacity, pending.count)
                memcpy(target, chunk + pending.lowerBound, count)
                pending = (pending.lowerBound + count)..<pending.upperBound
                return count
            }
            return try Self.readOnce(descriptor, path, target, capacity)
        }
        return try inflate(with: inflater, into: target, capacity: capacity)
    }

    /// Leaves out `count` bytes of content.
    mutating func skip(_ count: Int64) throws(LineFileError) {
        precondition(count >= 0, "skip \(count) bytes")
        var left = count
        if inflater == nil {
            let first = min(left, Int64(pending.count))
            pending = (pending.lowerBound + Int(first))..<pending.upperBound
            left -= first
            var status = stat()
            if left > 0, isFile, fstat(descriptor, &status) == 0 {
                let place = lseek(descriptor, 0, SEEK_CUR)
                guard place >= 0, Int64(place) + left <= Int64(status.st_size) else {
                    throw LineFileError(
                        "read", path, "it has \(status.st_size) bytes and was read up to \(count)")
                }
                lseek(descriptor, off_t(left), SEEK_CUR)
                return
            }
        }
        guard left > 0 else { return }
        let scratch = UnsafeMutablePointer<UInt8>.allocate(capacity: Self.chunkBytes)
        defer { scratch.deallocate() }
        while left > 0 {
            let size = Int(min(left, Int64(Self.chunkBytes)))
            let read = try read(into: scratch, capacity: size)
            guard read > 0 else {
                throw LineFileError(
                    "read", path, "it has \(count - left) bytes and was read up to \(count)")
            }
            left -= Int64(read)
        }
    }

    private mutating func inflate(
        with inflater: UnsafeMutablePointer<z_stream>, into target: UnsafeMutablePointer<UInt8>,
        capacity: Int
    ) throws(LineFileError) -> Int {
        while true {
            if pending.isEmpty {
                let count = try Self.readOnce(descriptor, path, chunk, Self.chunkBytes)
                guard count > 0 else {
                    if isBetweenMembers { return 0 }
                    throw LineFileError("read", path, "its gzip data ends in the middle")
                }
                pending = 0..<count
            }
            inflater.pointee.next_in = chunk + pending.lowerBound
            inflater.pointee.avail_in = UInt32(pending.count)
            inflater.pointee.next_out = target
            inflater.pointee.avail_out = UInt32(min(capacity, Int(UInt32.max)))
            let room = inflater.pointee.avail_out
            isBetweenMembers = false
            let status = CZlib.inflate(inflater, Z_NO_FLUSH)
            let used = pending.count - Int(inflater.pointee.avail_in)
            pending = (pending.lowerBound + used)..<pending.upperBound
            let written = Int(room - inflater.pointee.avail_out)
            switch status {
            case Z_STREAM_END:
                isBetweenMembers = true
                inflateReset(inflater)
            case Z_OK, Z_BUF_ERROR: break
            default:
                let reason = inflater.pointee.msg.map { String(cString: $0) } ?? "error \(status)"
                throw LineFileError("read", path, "its gzip data is damaged: \(reason)")
            }
            if written > 0 { return written }
        }
    }

    private static func readOnce(
        _ descriptor: Int32, _ path: String, _ target: UnsafeMutablePointer<UInt8>, _ capacity: Int
    ) throws(LineFileError) -> Int {
        while true {
            let count = Glibc.read(descriptor, target, capacity)
            if count >= 0 { return count }
            if errno != EINTR { throw LineFileError("read", path) }
        }
    }
}
