// Reads a file of JSON lines, one view at a time.

import Bytes
import JSON
import LineFiles

#if canImport(Glibc)
    import Glibc
#endif

enum JSONLines {
    /// Calls `body` with each line; the view lives until the next one.
    ///
    /// - Returns: false where there is no such file.
    @discardableResult
    static func forEach(_ path: String, _ body: (JSONView) throws -> Void) throws -> Bool {
        guard access(path, F_OK) == 0 else { return false }
        var reader = try LineReader.open(path, maximumLineBytes: 64 << 20)
        let parser = JSONParser(maximumDepth: 16, maximumBytes: 64 << 20)
        while let line = try reader.next() {
            let view: JSONView
            do throws(JSONError) { view = try parser.parse(line.bytes) } catch {
                throw ReportError("\(path), line \(line.number): \(error)")
            }
            try body(view)
        }
        return true
    }

    static func size(_ path: String) -> Int64? {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_size) : nil
    }

    /// A whole file as one value; nil where there is none.
    static func value(_ path: String) throws -> JSONValue? {
        guard access(path, F_OK) == 0 else { return nil }
        var text = ByteBuffer()
        var reader = try LineReader.open(path, maximumLineBytes: 64 << 20)
        while let line = try reader.next() {
            text.append(line.bytes)
            text.append(UInt8(ascii: "\n"))
        }
        do { return try JSONValue(parsing: text.slice) } catch {
            throw ReportError("\(path): \(error)")
        }
    }
}
