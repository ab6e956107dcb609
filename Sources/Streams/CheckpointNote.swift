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
        guard let kind = CheckpointNote.kind(ofKey: key) else { return nil }
        let suffix = CheckpointNote.suffix(of: kind).utf8CodeUnitCount
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

    /// What a record of the topic is; nil for every one that is no note.
    public static func kind(ofKey key: ByteSlice) -> Kind? {
        ends(key, with: suffix(of: .position))
            ? .position : ends(key, with: suffix(of: .manifest)) ? .manifest : nil
    }

    private static func suffix(of kind: Kind) -> StaticString {
        switch kind {
        case .position: "/position"
        case .manifest: "/manifest"
        }
    }

    private static func ends(_ key: ByteSlice, with suffix: StaticString) -> Bool {
        let suffix = ByteSlice(suffix)
        return key.count > suffix.count
            && key.slice(key.count - suffix.count, key.count).equals(suffix)
    }
}
