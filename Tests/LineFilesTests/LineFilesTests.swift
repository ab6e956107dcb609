// Lines in, lines out: plain, gzip, pipes, and the ways a file can be broken.

import Bytes
import Foundation
import Testing

@testable import LineFiles

@Suite struct LineFilesTests {
    /// A folder of its own for each test, gone afterwards.
    func inFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "line-files-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    func write(_ text: String, to path: String) throws {
        try text.lend { try LineWriter.write($0, to: path) }
    }

    struct Copied: Equatable {
        var text: String
        var offset: Int64
        var number: Int64
        var length: Int64
    }

    func read(
        _ path: String, at position: LinePosition = .start, maximum: Int = 1 << 20
    ) throws -> [Copied] {
        var reader = try LineReader.open(path, at: position, maximumLineBytes: maximum)
        var lines: [Copied] = []
        while let line = try reader.next() {
            lines.append(
                Copied(
                    text: line.bytes.text, offset: line.position.offset, number: line.number,
                    length: line.length))
        }
        return lines
    }

    @Test(arguments: ["a.txt", "a.gz"])
    func `lines come back as they were written`(name: String) throws {
        try inFolder { folder in
            let path = folder + "/" + name
            try write("one\n\nthree\r\nlast", to: path)
            #expect(
                try read(path) == [
                    Copied(text: "one", offset: 0, number: 1, length: 3),
                    Copied(text: "", offset: 4, number: 2, length: 0),
                    Copied(text: "three\r", offset: 5, number: 3, length: 6),
                    Copied(text: "last", offset: 12, number: 4, length: 4),
                ])
            try write("", to: path)
            #expect(try read(path) == [])
            try write("\n", to: path)
            #expect(try read(path).map(\.text) == [""])
        }
    }

    @Test(arguments: ["a.txt", "a.gz"])
    func `reading goes on from any line's position`(name: String) throws {
        try inFolder { folder in
            let path = folder + "/" + name
            let lines = (0..<5000).map { "line \($0) " + String(repeating: "x", count: $0 % 97) }
            try write(lines.joined(separator: "\n"), to: path)
            let all = try read(path)
            #expect(all.map(\.text) == lines)
            for i in [0, 1, 2499, 4999] {
                let position = LinePosition(offset: all[i].offset, lines: Int64(i))
                #expect(try read(path, at: position) == Array(all[i...]))
            }
            var reader = try LineReader.open(path)
            while try reader.next() != nil {}
            let end = reader.position
            #expect(end.lines == 5000)
            #expect(try read(path, at: end) == [])
            let beyond = LinePosition(offset: end.offset + 1, lines: 5000)
            #expect(throws: LineFileError.self) { try self.read(path, at: beyond) }
        }
    }

    @Test(arguments: [1, 7, 100, 1 << 18, (1 << 18) + 1, 600_000])
    func `an oversized line is reported and the next one is whole`(maximum: Int) throws {
        try inFolder { folder in
            let path = folder + "/a.gz"
            for length in [maximum, maximum + 1, maximum + 300_000, 3 * maximum + 1_000_000] {
                let long = String(repeating: "0123456789", count: length / 10 + 1).prefix(length)
                for end in ["\n", ""] {
                    try write("\(long)\nb\n\(long)\(end)", to: path)
                    let lines = try read(path, maximum: maximum)
                    #expect(lines.map(\.length) == [Int64(length), 1, Int64(length)])
                    #expect(lines.map(\.offset) == [0, Int64(length) + 1, Int64(length) + 3])
                    #expect(lines[0].text == long.prefix(maximum))
                    #expect(lines[1].text == "b")
                }
            }
        }
    }

    @Test func `concatenated gzip members are one file`() throws {
        try inFolder { folder in
            try write("a\nb", to: folder + "/1.gz")
            try write("c\nd\n", to: folder + "/2.gz")
            let members = try ["1.gz", "2.gz"].map {
                try Data(contentsOf: URL(fileURLWithPath: folder + "/" + $0))
            }
            let both = URL(fileURLWithPath: folder + "/no-suffix-needed")
            try (members[0] + members[1]).write(to: both)
            #expect(try read(both.path).map(\.text) == ["a", "bc", "d"])
        }
    }

    @Test func `a torn or damaged gzip file is an error, not an end`() throws {
        try inFolder { folder in
            let path = folder + "/a.gz"
            try write((0..<20_000).map { "line \($0 &* 7919)" }.joined(separator: "\n"), to: path)
            let whole = try Data(contentsOf: URL(fileURLWithPath: path))
            let torn = folder + "/torn.gz"
            try whole.prefix(whole.count / 2).write(to: URL(fileURLWithPath: torn))
            #expect(throws: LineFileError("read", torn, "its gzip data ends in the middle")) {
                try self.read(torn)
            }
            var damaged = whole
            damaged[whole.count / 2] ^= 0xFF
            damaged[whole.count / 2 + 1] ^= 0xFF
            try damaged.write(to: URL(fileURLWithPath: torn))
            #expect(throws: LineFileError.self) { try self.read(torn) }
        }
    }

    @Test func `a file that is not there is named`() {
        #expect(throws: LineFileError("open", "/nowhere/a", "No such file or directory")) {
            try self.read("/nowhere/a")
        }
        #expect(throws: LineFileError("write", "/nowhere/a", "No such file or directory")) {
            try self.write("x", to: "/nowhere/a")
        }
    }

    @Test func `a pipe's lines come before it is closed`() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { close(ends[1]) }
        _ = "first\nsec".lend { Glibc.write(ends[1], $0.base, $0.count) }
        var reader = try LineReader.open("/dev/fd/\(ends[0])")
        close(ends[0])
        #expect(try reader.next()?.bytes.text == "first", "the second line is not there yet")
        _ = "ond\n".lend { Glibc.write(ends[1], $0.base, $0.count) }
        #expect(try reader.next()?.bytes.text == "second")
    }

    @Test func `an unfinished file leaves the old one in place and nothing beside it`() throws {
        try inFolder { folder in
            let path = folder + "/a.txt"
            try write("old", to: path)
            do {
                var writer = try LineWriter.create(path)
                try "new".lend { try writer.append(line: $0) }
                #expect(writer.bytesWritten == 4)
            }
            #expect(try read(path).map(\.text) == ["old"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a.txt"])
        }
    }

    @Test func `equal content gives equal compressed bytes`() throws {
        try inFolder { folder in
            let text = (0..<3000).map { "line \($0)" }.joined(separator: "\n")
            try write(text, to: folder + "/a.gz")
            try write(text, to: folder + "/b.gz")
            let files = try ["a.gz", "b.gz"].map {
                try Data(contentsOf: URL(fileURLWithPath: folder + "/" + $0))
            }
            #expect(files[0] == files[1])
            #expect(files[0].count < text.utf8.count / 3)
            #expect(files[0][4..<8] == Data([0, 0, 0, 0]), "no time in the header")
        }
    }
}
