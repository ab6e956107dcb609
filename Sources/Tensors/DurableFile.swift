// A file that appears whole or not at all, also after a loss of power.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// A temporary file beside `path` that takes its place when it is complete and on disk.
public final class DurableFile {
    private let path: String
    private let temporary: String
    private var descriptor: Int32

    public init(_ path: String) throws(SafetensorsError) {
        self.path = path
        temporary = path + ".\(getpid()).tmp"
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        if descriptor < 0 {
            throw SafetensorsError(
                temporary, "cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        if descriptor >= 0 {
            close(descriptor)
            unlink(temporary)
        }
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws(SafetensorsError) {
        var done = 0
        while done < bytes.count {
            let wrote = Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
            if wrote < 0 {
                if errno == EINTR { continue }
                throw SafetensorsError(
                    temporary, "cannot be written: \(String(cString: strerror(errno)))")
            }
            done += wrote
        }
    }

    public func write(_ bytes: [UInt8]) throws(SafetensorsError) {
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { block.deallocate() }
        block.copyBytes(from: bytes)
        try write(UnsafeRawBufferPointer(block))
    }

    /// Puts the file on disk and in its place.
    public func commit() throws(SafetensorsError) {
        guard fsync(descriptor) == 0 else {
            throw SafetensorsError(
                temporary, "cannot be synced: \(String(cString: strerror(errno)))")
        }
        // Closed once, whatever it answers: the number may be somebody else's a moment later.
        let code = close(descriptor)
        descriptor = -1
        guard code == 0 else {
            throw SafetensorsError(
                temporary, "cannot be closed: \(String(cString: strerror(errno)))")
        }
        guard rename(temporary, path) == 0 else {
            throw SafetensorsError(path, "cannot be replaced: \(String(cString: strerror(errno)))")
        }
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let directory = open(folder, O_RDONLY | O_DIRECTORY)
        if directory >= 0 {
            fsync(directory)
            close(directory)
        }
    }
}
