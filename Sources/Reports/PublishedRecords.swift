// Where the commands read published records: the files of a run, or the topics of a fleet.

import JSON

/// What has been published: the newest record of every key of a compacted topic, in the order of the
/// keys, and all records of the others.
public protocol PublishedRecords {
    /// In messages: `demo-output`, or `fleet demo`.
    var name: String { get }

    /// Calls `body` with each record of a topic until it returns false; the view lives until the next
    /// one.
    ///
    /// - Parameter keyPrefix: records of other keys are of no interest; some may come all the same.
    /// - Throws: where there is no such topic.
    func forEach(
        of topic: String, keyPrefix: String?, _ body: (JSONView) throws -> Bool
    ) throws
}

/// The output folder of a run.
public struct RunFiles: PublishedRecords {
    public let name: String

    public init(folder: String) { name = folder }

    public func forEach(
        of topic: String, keyPrefix: String?, _ body: (JSONView) throws -> Bool
    ) throws {
        struct Enough: Error {}
        do {
            let isThere = try JSONLines.forEach("\(name)/\(topic).jsonl") { line in
                if !(try body(line)) { throw Enough() }
            }
            guard isThere else { throw ReportError("\(name) has no \(topic).jsonl") }
        } catch is Enough {}
    }
}
