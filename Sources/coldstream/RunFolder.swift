// What every run does with its output folder once its files are there.

import Bytes
import Contracts
import JSON
import LineFiles
import Reports

enum RunFolder {
    /// Dead letters of what was to be an event and was never appended.
    static func heldBackLines(in folder: String) throws -> Int64 {
        var count: Int64 = 0
        try OutputRecords.forEachDeadLetter(RunFiles(folder: folder)) { letter in
            if letter.isHeldBack, letter.json["topic"]?.text == Topic.events.name { count += 1 }
            return true
        }
        return count
    }

    /// Writes `summary.json`.
    static func write(_ summary: JSONValue, to folder: String) throws {
        var text = ByteBuffer()
        text.append(summary.canonicalText)
        text.append("\n" as StaticString)
        try LineWriter.write(text.slice, to: "\(folder)/summary.json")
    }
}
