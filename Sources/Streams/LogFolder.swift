// The folder of a MemoryLog that survives its process: file operations, each of which can fail.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// Why a log's folder cannot be used; the sentence says what to do.
public struct LogFolderError: Error, Equatable, CustomStringConvertible {
    public enum Kind: Equatable, Sendable {
        /// The system refused; `errno`. The log cannot go on: its process ends and opens it again.
        case system(Int32)
        /// Another process has the folder open.
        case inUse
        /// Committed data is missing or altered.
        case damaged
        /// The folder was written with topics that do not fit these.
        case otherTopics
    }

    public let kind: Kind
    public let path: String
    public let sentence: String

    public var description: String { "\(path): \(sentence)" }

    static func system(_ attempt: String, _ path: String) -> LogFolderError {
        let code = errno
        return LogFolderError(
            kind: .system(code), path: path,
            sentence: "cannot \(attempt): \(String(cString: strerror(code))); nothing that was "
                + "committed is lost, correct it and start again")
    }

    static func damaged(_ path: String, _ what: String) -> LogFolderError {
        LogFolderError(
            kind: .damaged, path: path,
            sentence:
                "\(what); committed data is missing or altered, restore the folder from a copy "
                + "or begin with an empty one")
    }
}

/// Every change of the folder, before it is made. Tests watch them to cut the power between any two.
enum FolderChange: Equatable {
    case makeFolder(String)
    case write(String, offset: Int, [UInt8])
    case truncate(String, Int)
    case sync(String)
    case syncFolder(String)
    case rename(String, String)
    case remove(String)
}

/// One process's hold on a folder: files by paths relative to it, and what the journal must say next.
///
/// ```
/// DIR/lock                                          held by the process that has it open
/// DIR/journal                                       what is in the log (`LogJournal`)
/// DIR/<topic>-<partition>/<first offset>-<n>.segment  the entries of one chunk, as in memory
/// ```
final class LogFolder {
    let path: String
    /// Told of every change before it is made; what it throws stops the change.
    var observer: ((FolderChange) throws -> Void)?
    /// Set by the first failure: what is in memory may then be ahead of the disk, so nothing more is
    /// committed.
    private(set) var failure: (any Error)?

    /// Where the next journal entry goes, its number, and how long the journal's first entry is.
    var journalEnd = 0
    var journalSequence: UInt64 = 0
    var journalBase = 0
    /// What has changed since the last journal entry, beside partitions, which know it themselves.
    var changedProducers: Set<String> = []
    var changedOffsets: [(group: String, place: Int)] = []

    private var madeFolders: Set<String> = []
    private let lock: Int32

    init(_ path: String) throws {
        self.path = path
        if mkdir(path, 0o777) != 0, errno != EEXIST {
            throw LogFolderError.system("make the folder", path)
        }
        lock = open("\(path)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        guard lock >= 0 else { throw LogFolderError.system("open its lock", path) }
        // A process that is being born beside us shares our open files until it becomes its own program,
        // and with them a lock that we have just given up: half a second tells it from another owner.
        var tries = 50
        var code = flock(lock, LOCK_EX | LOCK_NB)
        while code != 0, errno == EWOULDBLOCK, tries > 0 {
            usleep(10_000)
            tries -= 1
            code = flock(lock, LOCK_EX | LOCK_NB)
        }
        guard code == 0 else {
            let isHeld = errno == EWOULDBLOCK
            let error = LogFolderError.system("lock it", path)
            // `deinit` closes the lock: everything is set, so it runs for what is thrown from here too.
            throw isHeld
                ? LogFolderError(
                    kind: .inUse, path: path,
                    sentence: "another process has this log open; stop it or choose another folder")
                : error
        }
    }

    deinit { close(lock) }

    func checkUsable() throws {
        if let failure { throw failure }
    }

    /// Runs `body`; after a failure the folder stays unusable.
    func changing(_ body: () throws -> Void) throws {
        try checkUsable()
        do {
            try body()
        } catch {
            failure = error
            throw error
        }
    }

    private func full(_ name: String) -> String { name.isEmpty ? path : "\(path)/\(name)" }

    // Changes

    /// Makes sure that a folder is there and its name on disk.
    func makeFolder(_ name: String) throws {
        guard !madeFolders.contains(name) else { return }
        try observer?(.makeFolder(name))
        if mkdir(full(name), 0o777) != 0, errno != EEXIST {
            throw LogFolderError.system("make the folder", full(name))
        }
        try syncFolder("")
        madeFolders.insert(name)
    }

    /// Writes `bytes` at `offset`, creating the file if need be, and waits until they are on disk.
    func writeAndSync(_ name: String, _ bytes: ByteSlice, at offset: Int) throws {
        try observer?(.write(name, offset: offset, bytes.copy()))
        let file = open(full(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw LogFolderError.system("open it for writing", full(name)) }
        defer { close(file) }
        var done = 0
        while done < bytes.count {
            let written = pwrite(file, bytes.base + done, bytes.count - done, off_t(offset + done))
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw LogFolderError.system("write", full(name)) }
            done += written
        }
        try observer?(.sync(name))
        guard fdatasync(file) == 0 else {
            throw LogFolderError.system("write it to disk", full(name))
        }
    }

    func truncate(_ name: String, to length: Int) throws {
        try observer?(.truncate(name, length))
        guard Glibc.truncate(full(name), off_t(length)) == 0 else {
            throw LogFolderError.system("cut its torn end off", full(name))
        }
    }

    /// Waits until the names in a folder are on disk; "" is the log's own.
    func syncFolder(_ name: String) throws {
        try observer?(.syncFolder(name))
        let file = open(full(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { throw LogFolderError.system("open the folder", full(name)) }
        defer { close(file) }
        guard fsync(file) == 0 else {
            throw LogFolderError.system("write the folder to disk", full(name))
        }
    }

    func rename(_ old: String, to new: String) throws {
        try observer?(.rename(old, new))
        guard Glibc.rename(full(old), full(new)) == 0 else {
            throw LogFolderError.system("rename it to \(new)", full(old))
        }
    }

    func remove(_ name: String) throws {
        try observer?(.remove(name))
        guard unlink(full(name)) == 0 || errno == ENOENT else {
            throw LogFolderError.system("remove it", full(name))
        }
    }

    // Reading

    /// The names in a folder, sorted; none if there is no such folder.
    func list(_ name: String) throws -> [String] {
        guard let directory = opendir(full(name)) else {
            guard errno == ENOENT else { throw LogFolderError.system("list it", full(name)) }
            return []
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let found = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if found != ".", found != ".." { names.append(found) }
        }
        return names.sorted()
    }

    /// The length of a file, or `nil` if there is none.
    func length(_ name: String) throws -> Int? {
        var status = stat()
        guard stat(full(name), &status) == 0 else {
            guard errno == ENOENT else { throw LogFolderError.system("look at it", full(name)) }
            return nil
        }
        return Int(status.st_size)
    }

    /// Reads the first `count` bytes of a file into `memory`; returns how many there were.
    func read(_ name: String, _ count: Int, into memory: UnsafeMutableRawPointer) throws -> Int {
        let file = open(full(name), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw LogFolderError.system("open it", full(name)) }
        defer { close(file) }
        var done = 0
        while done < count {
            let read = pread(file, memory + done, count - done, off_t(done))
            if read < 0, errno == EINTR { continue }
            guard read >= 0 else { throw LogFolderError.system("read", full(name)) }
            if read == 0 { break }
            done += read
        }
        return done
    }
}
