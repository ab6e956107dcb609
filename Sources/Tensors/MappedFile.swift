// A file that is read where it lies: mapped into memory, read-only.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// The bytes of a file, mapped; unmapped when the last user lets go.
public final class MappedFile: @unchecked Sendable {
    public let path: String
    public let count: Int
    private let base: UnsafeRawPointer
    /// Mapped bytes: the file and, after its last page, one page of zeros, so that kernels may read on.
    private let length: Int

    /// - Throws: where the file cannot be opened, read or mapped.
    public init(_ path: String) throws(SafetensorsError) {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else {
            throw SafetensorsError(path, "cannot be opened: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw SafetensorsError(path, "is not a regular file")
        }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        count = Int(status.st_size)
        length = (count + page - 1) / page * page + page
        let memory = mmap(nil, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, memory != MAP_FAILED else {
            throw SafetensorsError(path, "cannot be mapped: \(String(cString: strerror(errno)))")
        }
        if count > 0 {
            let mapped = mmap(
                memory, count, PROT_READ, MAP_PRIVATE | MAP_FIXED, descriptor, 0)
            guard mapped != MAP_FAILED else {
                let reason = String(cString: strerror(errno))
                munmap(memory, length)
                throw SafetensorsError(path, "cannot be mapped: \(reason)")
            }
        }
        base = UnsafeRawPointer(memory)
        self.path = path
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: base), length) }

    /// Whether a regular file is there to be read.
    public static func exists(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Lends the file's bytes for the length of `body`.
    public func lend<Result>(_ body: (ByteSlice) -> Result) -> Result {
        withExtendedLifetime(self) { body(bytes) }
    }

    /// The file's bytes; valid while this object lives.
    var bytes: ByteSlice { ByteSlice(UnsafeRawBufferPointer(start: base, count: count)) }
}
