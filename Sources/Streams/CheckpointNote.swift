// What a checkpoint topic says of a group's partitions, for those who only look.

import Bytes

/// A position record or a manifest, read without the tables that belong to it.
public struct CheckpointNote: Equatable, Sendable {
    public enum Kind: Sendable {
        /// Where the group stood at its newest commit.
        case position
        /// Where its newest checkpoint stands: recovery replays from there.
        case manifest
    }

    public let group: String
    public let partition: Int
    public let kind: Kind
    /// The next offset of the input to read.
    public let next: Int64
    /// Records processed by then.
    public let ordinal: Int64

    /// - Returns: nil for every other record of the topic, rows and tombstones among them.
    /// - Throws: where a position or a manifest is torn.
    public init?(key: ByteSlice, value: ByteSlice?) throws(StateError) {
        let position = "/position" as StaticString
        let manifest = "/manifest" as StaticString
        let (kind, suffix): (Kind, Int)
        if CheckpointNote.ends(key, with: position) {
            (kind, suffix) = (.position, position.utf8CodeUnitCount)
        } else if CheckpointNote.ends(key, with: manifest) {
            (kind, suffix) = (.manifest, manifest.utf8CodeUnitCount)
        } else {
            return nil
        }
        let place = key.slice(0, key.count - suffix).text
        guard let value, let slash = place.lastIndex(of: "/"),
            let partition = Int(place[place.index(after: slash)...])
        else { return nil }
        group = String(place[..<slash])
        self.partition = partition
        self.kind = kind
        let found =
            kind == .position ? try PositionRecord(value).position : try Manifest(value).position
        next = found.next
        ordinal = found.ordinal
    }

    private static func ends(_ key: ByteSlice, with suffix: StaticString) -> Bool {
        let suffix = ByteSlice(suffix)
        return key.count > suffix.count
            && key.slice(key.count - suffix.count, key.count).equals(suffix)
    }
}
