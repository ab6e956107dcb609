// The bytes of a snapshot file, written and read.

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

/// A snapshot file in memory, checked.
///
/// "CSNAPSHT", format, group, partition, position, step version; per table name, bytes a row, rows,
/// sequence; then every row of every table as number, length and bytes; SHA-256 of all before.
final class SnapshotFile {
    private static let magic = Array("CSNAPSHT".utf8)
    private static let format: UInt32 = 1
    private static let digestBytes = 32

    let snapshot: Snapshot
    private let path: String
    private let memory: UnsafeMutableRawPointer
    private let length: Int
    /// Where the rows begin.
    private let rows: Int

    // Reading

    init(_ path: String) throws(StateError) {
        func refuse(_ reason: String) -> StateError { StateError("snapshot \(path) \(reason)") }
        func refuseSystem(_ attempt: String) -> StateError {
            refuse("cannot be \(attempt): \(String(cString: strerror(errno)))")
        }
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw refuseSystem("opened") }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw refuseSystem("looked at") }
        let length = Int(status.st_size)
        guard length > SnapshotFile.magic.count + SnapshotFile.digestBytes else {
            throw refuse("has \(length) bytes: it is torn, take another one")
        }
        guard let memory = mmap(nil, length, PROT_READ, MAP_PRIVATE, file, 0), memory != MAP_FAILED
        else { throw refuseSystem("read") }
        do throws(StateError) {
            let all = ByteSlice(UnsafeRawBufferPointer(start: memory, count: length))
            let body = all.slice(0, length - SnapshotFile.digestBytes)
            guard SnapshotFile.magic.lend({ all.slice(0, $0.count).equals($0) }) else {
                throw refuse("is not a snapshot")
            }
            var hash = SHA256()
            hash.update(body)
            let digest = hash.finish()
            guard digest.lend({ all.slice(body.count, length).equals($0) }) else {
                throw refuse(
                    "does not have the SHA-256 it ends with: it is torn or was altered, take "
                        + "another one")
            }
            let parsed = try SnapshotFile.parse(body, refuse)
            snapshot = parsed.snapshot.with(digest: digest, bytes: length)
            rows = parsed.rows
        } catch {
            munmap(memory, length)
            throw error
        }
        self.path = path
        self.memory = memory
        self.length = length
    }

    deinit { munmap(memory, length) }

    private static func parse(
        _ body: ByteSlice, _ refuse: (String) -> StateError
    ) throws(StateError) -> (snapshot: Snapshot, rows: Int) {
        var reader = PlainReader(body)
        _ = try reader.bytes(magic.count)
        let found: UInt32 = try reader.number()
        guard found == format else {
            throw refuse(
                "has format \(found), this binary reads \(format): use the one that made it")
        }
        let group = try reader.text()
        let partition: UInt32 = try reader.number()
        let position = try Position(try reader.bytes(Position.bytes))
        var snapshot = Snapshot(
            group: group, partition: Int(partition), ordinal: position.ordinal,
            outputHash: position.rollingHash, next: position.next, stepVersion: try reader.text(),
            tables: [], sha256: "", bytes: 0)
        for _ in 0..<(try reader.number() as UInt32) {
            snapshot.tables.append(
                Snapshot.TableSummary(
                    name: try reader.text(), rowBytes: Int(try reader.number() as UInt32),
                    rows: Int(truncatingIfNeeded: try reader.number() as UInt64),
                    sequence: try reader.number()))
        }
        return (snapshot, reader.position)
    }

    /// Puts all rows into the tables of a fresh state.
    func restore(_ tables: [any StateTable]) throws(StateError) {
        let expected = snapshot.tables
        guard expected.map(\.name) == tables.map(\.name),
            expected.map(\.rowBytes) == tables.map(\.rowBytes)
        else {
            throw StateError(
                "snapshot \(path) has the tables \(expected.map { "\($0.name) (\($0.rowBytes) bytes)" }), "
                    + "this binary \(tables.map { "\($0.name) (\($0.rowBytes) bytes)" }): use the one "
                    + "that made it")
        }
        let all = ByteSlice(UnsafeRawBufferPointer(start: memory, count: length))
        var reader = PlainReader(all.slice(rows, length - SnapshotFile.digestBytes))
        for (summary, table) in zip(expected, tables) {
            for _ in 0..<summary.rows {
                let row: UInt32 = try reader.number()
                try table.restoreRow(row, try reader.bytes(Int(try reader.number() as UInt32)))
            }
            table.finishRestore(sequence: summary.sequence)
        }
        guard reader.remaining == 0 else {
            throw StateError("snapshot \(path) has \(reader.remaining) bytes behind its rows")
        }
    }

    // Writing

    static func write(
        _ tables: [any StateTable], at position: Position, group: String, partition: Int,
        stepVersion: String, to path: String
    ) throws(StateError) -> Snapshot {
        let summaries = tables.map {
            var rows = 0
            $0.forEachRow { _, _ in rows += 1 }
            return Snapshot.TableSummary(
                name: $0.name, rowBytes: $0.rowBytes, rows: rows, sequence: $0.sequence)
        }
        var out = try SnapshotWriter(path)
        magic.lend { out.buffer.append($0) }
        out.buffer.append(raw: format)
        appendText(group, to: &out.buffer)
        out.buffer.append(raw: UInt32(partition))
        position.append(to: &out.buffer)
        appendText(stepVersion, to: &out.buffer)
        out.buffer.append(raw: UInt32(tables.count))
        for summary in summaries {
            appendText(summary.name, to: &out.buffer)
            out.buffer.append(raw: UInt32(summary.rowBytes))
            out.buffer.append(raw: UInt64(summary.rows))
            out.buffer.append(raw: summary.sequence)
        }
        for table in tables {
            table.forEachRow { row, bytes in
                out.buffer.append(raw: row)
                out.buffer.append(raw: UInt32(bytes.count))
                out.buffer.append(bytes)
                out.writeIfLarge()
            }
        }
        let (digest, bytes) = try out.finish()
        return Snapshot(
            group: group, partition: partition, ordinal: position.ordinal,
            outputHash: position.rollingHash, next: position.next, stepVersion: stepVersion,
            tables: summaries, sha256: "", bytes: 0
        ).with(digest: digest, bytes: bytes)
    }
}

extension Snapshot {
    fileprivate func with(digest: [UInt8], bytes: Int) -> Snapshot {
        var copy = self
        copy.sha256 = hexadecimal(digest)
        copy.bytes = bytes
        return copy
    }
}

/// Writes a file beside its place, hashes it on the way, and puts it there whole.
private struct SnapshotWriter: ~Copyable {
    var buffer = ByteBuffer(capacity: 1 << 20)
    private let path: String
    private let file: Int32
    private var hash = SHA256()
    private var written = 0
    private var failure: StateError?

    private var temporary: String { path + ".new" }

    init(_ path: String) throws(StateError) {
        self.path = path
        file = open(path + ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw SnapshotWriter.error("made", path) }
    }

    deinit {
        close(file)
        // Gone already if all went well.
        unlink(path + ".new")
    }

    private static func error(_ attempt: String, _ path: String) -> StateError {
        StateError("snapshot \(path) cannot be \(attempt): \(String(cString: strerror(errno)))")
    }

    mutating func writeIfLarge() {
        if buffer.count >= 1 << 20 {
            hash.update(buffer.slice)
            write()
        }
    }

    private mutating func write() {
        var done = 0
        while failure == nil, done < buffer.count {
            let count = Glibc.write(file, buffer.slice.base + done, buffer.count - done)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { failure = SnapshotWriter.error("written", path) }
            done += max(0, count)
        }
        written += buffer.count
        buffer.removeAll()
    }

    mutating func finish() throws(StateError) -> (digest: [UInt8], bytes: Int) {
        hash.update(buffer.slice)
        let digest = hash.finish()
        digest.lend { buffer.append($0) }
        write()
        if let failure { throw failure }
        guard fsync(file) == 0 else { throw SnapshotWriter.error("written to disk", path) }
        guard rename(temporary, path) == 0 else { throw SnapshotWriter.error("put in place", path) }
        let end = path.lastIndex(of: "/")
        let folder = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw SnapshotWriter.error("put in place for good", path) }
        defer { close(directory) }
        guard fsync(directory) == 0 else {
            throw SnapshotWriter.error("put in place for good", path)
        }
        return (digest, written)
    }
}
