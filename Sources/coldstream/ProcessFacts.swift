// What the machine allows and what this process took of it.

import KafkaFleet

#if canImport(Glibc)
    import Glibc
#endif

enum ProcessFacts {
    /// The most resident memory of this process so far, in bytes.
    static var memoryPeak: Int64 {
        if let status = text("/proc/self/status"),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
            let kibibytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst()
                .first.flatMap({ Int64($0) })
        {
            return kibibytes << 10
        }
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Int64(usage.ru_maxrss) << 10
    }

    /// The most resident memory of any one child that has ended, in bytes.
    static var memoryPeakOfChildren: Int64 {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_CHILDREN.rawValue), &usage)
        return Int64(usage.ru_maxrss) << 10
    }

    /// The path of the program that runs.
    static var program: String? {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        return count > 0
            ? String(decoding: path[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
    }

    /// 80 % of the machine's memory, or of the control group's where that is less; in bytes.
    static var memoryLimit: Int64 {
        var limit = Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE)))
        var files = [
            "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ]
        if let own = text("/proc/self/cgroup")?.split(separator: "\n").first(where: {
            $0.hasPrefix("0::")
        }) {
            files.append("/sys/fs/cgroup\(own.dropFirst(3))/memory.max")
        }
        for file in files {
            if let line = text(file)?.split(separator: "\n").first, let bytes = Int64(line) {
                limit = min(limit, bytes)
            }
        }
        return limit / 5 * 4
    }

    /// Seconds of wall time from any beginning.
    static var seconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    /// The value of an environment variable.
    static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }

    /// Wall time, milliseconds since the epoch.
    static var milliseconds: Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }

    /// All variables.
    static var environment: [String: String] {
        var all: [String: String] = [:]
        var place = environ
        while let entry = place.pointee {
            let parts = String(cString: entry).split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { all[String(parts[0])] = String(parts[1]) }
            place += 1
        }
        return all
    }

    /// The number at the end of the host's name, as a StatefulSet gives it.
    static var slotOfHost: Int? {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return nil }
        let text = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
        let digits = text.reversed().prefix { $0.isNumber }
        guard digits.count < text.count, text.dropLast(digits.count).last == "-" else { return nil }
        return Int(String(digits.reversed()))
    }

    /// Room on the disk of a folder.
    static func disk(_ folder: String) -> DiskSpace {
        var room = statvfs()
        guard statvfs(folder, &room) == 0 else {
            return DiskSpace(folder: folder, free: nil, size: 0)
        }
        let block = Int64(room.f_frsize)
        return DiskSpace(
            folder: folder, free: Int64(room.f_bavail) * block, size: Int64(room.f_blocks) * block)
    }

    static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// A small file as text.
    static func text(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 { break }
            bytes += chunk[0..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
