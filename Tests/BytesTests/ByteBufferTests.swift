// The buffer against an array that grows with it.

import Bytes
import Testing

@Suite struct ByteBufferTests {
    @Test func `a buffer holds what was appended, however often it grew`() {
        var buffer = ByteBuffer(capacity: 0)
        var model: [UInt8] = []
        for i in 0..<2_000 {
            switch i % 5 {
            case 0:
                buffer.append(UInt8(truncatingIfNeeded: i))
                model.append(UInt8(truncatingIfNeeded: i))
            case 1:
                let run = [UInt8](repeating: UInt8(truncatingIfNeeded: i), count: i % 97)
                run.lend { buffer.append($0) }
                model += run
            case 2:
                buffer.append("static")
                model += Array("static".utf8)
            case 3:
                buffer.append("text \(i)")
                model += Array("text \(i)".utf8)
            default:
                buffer.append(raw: UInt32(i))
                model += withUnsafeBytes(of: UInt32(i)) { Array($0) }
            }
        }
        #expect(buffer.slice.copy() == model)
        #expect(buffer.slice(from: 100).copy() == Array(model[100...]))
        #expect(buffer.slice(3..<9).copy() == Array(model[3..<9]))
        buffer.truncate(to: 10)
        #expect(buffer.slice.copy() == Array(model[..<10]))
        buffer.removeAll()
        #expect(buffer.count == 0)
    }

    @Test func `emptying keeps the memory`() {
        var buffer = ByteBuffer()
        for _ in 0..<1_000 { buffer.append("0123456789") }
        let memory = buffer.allocatedBytes
        for _ in 0..<10 {
            buffer.removeAll()
            for _ in 0..<1_000 { buffer.append("0123456789") }
        }
        #expect(buffer.allocatedBytes == memory)
    }

    @Test func `only what was written counts of lent bytes`() {
        var buffer = ByteBuffer(capacity: 16)
        buffer.append("x")
        buffer.appendUninitialized(1_000) { memory in
            memory[0] = 1
            memory[1] = 2
            return 2
        }
        #expect(buffer.slice.copy() == [UInt8(ascii: "x"), 1, 2])
    }

    @Test func `slices compare as bytes, shorter first`() {
        func precedes(_ a: String, _ b: String) -> Bool {
            a.lend { a in b.lend { a.precedes($0) } }
        }
        #expect(precedes("a", "ab"))
        #expect(precedes("ab", "b"))
        #expect(!precedes("b", "ab"))
        #expect(!precedes("a", "a"))
        #expect(!ByteSlice.empty.equals("a"))
        #expect("abc".lend { $0.slice(1, 3).equals("bc") })
    }
}
