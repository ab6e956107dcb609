// Folders that commands read from and write to.

import LineFiles

#if canImport(Glibc)
    import Glibc
#endif

enum FolderFiles {
    static func isThere(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    static func size(_ path: String) -> Int64? {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_size) : nil
    }

    /// A path by which the same file is known from every folder; as it is where there is none.
    static func resolved(_ path: String) -> String {
        guard path != "-", let found = realpath(path, nil) else { return path }
        defer { free(found) }
        return String(cString: found)
    }

    /// `name` or `name.gz` in a folder, whichever is there.
    static func input(_ name: String, in folder: String) -> String? {
        ["\(folder)/\(name)", "\(folder)/\(name).gz"].first(where: isThere)
    }

    /// Makes a folder and those above it.
    static func make(_ path: String) throws {
        var upTo = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            upTo += part + "/"
            if mkdir(upTo, 0o755) != 0, errno != EEXIST {
                throw LineFileError("make the folder", path, String(cString: strerror(errno)))
            }
        }
        guard isFolder(path) else {
            throw LineFileError("make the folder", path, "there is something else of that name")
        }
    }

    /// A new folder that nobody else uses.
    static func makeTemporary() throws -> String {
        let parent = ProcessFacts.environment("TMPDIR") ?? "/tmp"
        var template = Array("\(parent)/coldstream.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw LineFileError("make a folder in", parent, String(cString: strerror(errno)))
        }
        return template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    /// Removes the files of a folder, and the folder.
    static func remove(_ folder: String) {
        guard let handle = opendir(folder) else { return }
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { unlink("\(folder)/\(name)") }
        }
        closedir(handle)
        rmdir(folder)
    }

    /// About how many bytes of content the file has: of gzip what its last four bytes say.
    static func contentSize(_ path: String) -> Int64? {
        guard let size = size(path), let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var magic = [UInt8](repeating: 0, count: 2)
        guard fread(&magic, 1, 2, file) == 2, magic == [0x1F, 0x8B] else { return size }
        var tail = [UInt8](repeating: 0, count: 4)
        guard size > 18, fseek(file, -4, SEEK_END) == 0, fread(&tail, 1, 4, file) == 4 else {
            return nil
        }
        let low = tail.reversed().reduce(Int64(0)) { $0 << 8 | Int64($1) }
        // The length is told modulo 4 GiB; content is never smaller than what it was packed into.
        return low >= size ? low : low + (size >> 32 + 1) << 32
    }
}
