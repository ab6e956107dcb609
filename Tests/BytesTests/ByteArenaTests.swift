import Bytes
import Testing

@Suite struct ByteArenaTests {
    @Test func `what is kept stays where it is until everything is forgotten`() {
        var arena = ByteArena(chunkBytes: 16)
        var kept: [ByteSlice] = []
        let texts = (0..<200).map { String(repeating: "x", count: $0 % 40) + "\($0)" }
        for round in 0..<3 {
            kept = texts.map { arena.keep($0) }
            #expect(kept.map(\.text) == texts, "round \(round)")
            arena.removeAll()
        }
        #expect(arena.keep(.empty).isEmpty)
    }
}
