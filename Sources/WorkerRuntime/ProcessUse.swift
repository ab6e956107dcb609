// What this process takes of the machine, for a page that is being asked for.

#if canImport(Glibc)
    import Glibc
#endif

struct ProcessUse {
    var residentBytes: Int64
    var peakBytes: Int64
    var processorSeconds: Double

    /// Now.
    init() {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        peakBytes = Int64(usage.ru_maxrss) << 10
        processorSeconds = seconds(usage.ru_utime) + seconds(usage.ru_stime)
        residentBytes =
            ProcessUse.residentPages.map { $0 * Int64(sysconf(Int32(_SC_PAGESIZE))) } ?? 0
        peakBytes = max(peakBytes, residentBytes)
    }

    /// The second number of /proc/self/statm.
    private static var residentPages: Int64? {
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 128)
        let count = read(file, &bytes, bytes.count)
        guard count > 0 else { return nil }
        let words = String(decoding: bytes[..<count], as: UTF8.self).split(separator: " ")
        return words.count > 1 ? Int64(words[1]) : nil
    }
}
