// Both sides of every bound on the size of an event.

import Bytes
import JSON
import Testing

@testable import Contracts

@Suite struct SizeTests {
    private func refusal(_ changes: [(String, String?)]) -> ContractError? {
        let reader = EventReader()
        do {
            try BadEvent.impression(changes).lend { try reader.read($0) }
            return nil
        } catch { return error as? ContractError }
    }

    private func text(_ bytes: Int) -> String { "\"\(String(repeating: "x", count: bytes))\"" }

    @Test(arguments: ["user", "context"])
    func `a text of user and context has at most 1,024 bytes`(field: String) {
        #expect(refusal([(field, #"{"a":\#(text(1_024))}"#)]) == nil)
        let error = refusal([(field, #"{"a":\#(text(1_025))}"#)])
        #expect(error?.reason == .out_of_range)
        #expect(error?.path == "/\(field)/a")
        #expect(error?.message == "/\(field)/a must be text of 0 to 1024 bytes, not of 1025.")
    }

    private func slate(_ count: Int) -> String {
        "[" + (1...count).map { #"{"item_id":"i\#($0)"}"# }.joined(separator: ",") + "]"
    }

    @Test func `a slate has at most a thousand items`() {
        #expect(refusal([("item_id", nil), ("items", slate(1_000))]) == nil)
        let error = refusal([("item_id", nil), ("items", slate(1_001))])
        #expect(error?.reason == .too_many_values)
        #expect(error?.message == "/items holds 1001 items; 1000 are allowed.")
    }

    @Test func `what stands beside a slate's items has at most 1 MiB, once for each`() {
        // 1,024 bytes for each of 1,024 items would be 1 MiB; there are at most 1,000 items.
        func beside(_ bytes: Int, _ count: Int) -> ContractError? {
            refusal([
                ("item_id", nil), ("items", slate(count)),
                ("context", #"{"a":\#(text(1_023)),"b":\#(text(bytes - 1_024 - 1))}"#),
            ])
        }
        #expect(beside(2_048, 512) == nil)
        let error = beside(2_048, 513)
        #expect(error?.reason == .too_large)
        #expect(error?.path == "/items")
        #expect(error!.message.contains("513 items"))
        #expect(error!.message.contains("2048 bytes"))
    }

    @Test func `a null specversion makes no envelope`() {
        let error = refusal([("specversion", "null"), ("domain", nil)])
        #expect(error?.path == "/domain")
        #expect(error?.reason == .missing_field)
        #expect(refusal([("specversion", "null")]) == nil)
        #expect(refusal([("specversion", "\"1.0\"")])?.path == "/data")
    }
}
