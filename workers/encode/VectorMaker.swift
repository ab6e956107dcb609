// Who makes vectors, and at whose pace: in the caller's turn, or on a thread of its own.

import Bytes
import Contracts
import TextEncoding

/// A vector that has been made.
public struct MadeVector: Sendable {
    /// `TextVectorSubject.vector`.
    public var key: Hash128
    /// One half-precision number a dimension, little-endian; all 0 where the text has no vector.
    public var halves: [UInt8]
}

/// What a maker has done since its start.
public struct MakerCounts: Sendable, Equatable {
    /// Texts whose vector was made.
    public var texts: Int64 = 0
    /// Those of them that have none: nothing in them that the encoder knows, it refused them, or its
    /// numbers for them were none.
    public var withoutVector: Int64 = 0
    /// Calls of the encoder that failed, by reason (`EncodingFailure.reason`).
    public var failures: [String: Int64] = [:]
    /// Time spent in the encoder.
    public var seconds: Double = 0
    /// What the newest failure said; nil after a success.
    public var lastError: String?

    public init() {}
}

/// Makes vectors of texts in the order in which they are asked for, each once however often it is
/// asked for before it is made.
public protocol VectorMaker: AnyObject {
    var identity: EncoderIdentity { get }
    var dimension: Int { get }
    var counts: MakerCounts { get }
    /// Texts that may still be asked for before some are taken.
    var room: Int { get }
    /// The newest attempt failed, and no other has been made since.
    var isFailing: Bool { get }

    /// Asks for the vector of a text. Does nothing where it has been asked for already.
    func request(_ key: Hash128, _ text: ByteSlice)

    /// Takes what has been made.
    ///
    /// - Parameter patienceMilliseconds: waits so long for all that has been asked for; shorter where
    ///   an attempt fails.
    func take(patienceMilliseconds: Int) -> [MadeVector]

    /// Says that records came: time passes for a maker that waits before it tries again.
    func recordsCame()
}

/// Texts in the order of their asking.
struct TextQueue {
    private(set) var waiting: [(key: Hash128, text: [UInt8])] = []
    private var asked: Set<Hash128> = []
    static let limit = 4_096

    /// Asked for and not settled yet.
    var count: Int { asked.count }

    mutating func append(_ key: Hash128, _ text: ByteSlice) -> Bool {
        guard asked.insert(key).inserted else { return false }
        waiting.append((key, text.copy()))
        return true
    }

    /// The first texts, which stay asked for until they are settled.
    mutating func removeFirst(_ limit: Int) -> [(key: Hash128, text: [UInt8])] {
        let first = Array(waiting.prefix(limit))
        waiting.removeFirst(first.count)
        return first
    }

    mutating func putBack(_ texts: [(key: Hash128, text: [UInt8])]) {
        waiting.insert(contentsOf: texts, at: 0)
    }

    mutating func settle(_ key: Hash128) { asked.remove(key) }
}

/// One call of an encoder, as both makers make it.
struct EncoderCall {
    var made: [MadeVector] = []
    var reason: String?
    var message: String?
    var seconds: Double = 0

    /// - Parameter counts: what the encoder has done before. A text is to blame for numbers that are none
    ///   where others have got theirs, and has no vector; else the encoder is.
    init(
        _ encoder: any TextEncoder, _ texts: [(key: Hash128, text: [UInt8])],
        after counts: MakerCounts
    ) {
        let start = ContinuousClock.now
        let dimension = encoder.dimension
        let values = UnsafeMutableBufferPointer<Float>.allocate(capacity: texts.count * dimension)
        values.initialize(repeating: 0)
        defer { values.deallocate() }
        do {
            try encoder.encode(texts.map(\.text), into: values)
            let rows = texts.indices.map {
                UnsafeMutableBufferPointer(
                    rebasing: values[$0 * dimension..<($0 + 1) * dimension])
            }
            let isUsable = rows.map { $0.allSatisfy(\.isFinite) }
            guard isUsable.contains(true) || counts.texts > counts.withoutVector else {
                throw UnusableVector(name: encoder.identity.name)
            }
            made.reserveCapacity(texts.count)
            for (row, text) in texts.enumerated() {
                if !isUsable[row] { rows[row].update(repeating: 0) }
                var halves = ByteBuffer(capacity: dimension * 2)
                TextVector.append(UnsafeBufferPointer(rows[row]), to: &halves)
                made.append(MadeVector(key: text.key, halves: halves.slice.copy()))
            }
        } catch {
            made = []
            reason = (error as? any EncodingFailure)?.reason ?? "encoder"
            message = "\(error)"
        }
        let time = (ContinuousClock.now - start).components
        seconds = Double(time.seconds) + Double(time.attoseconds) / 1e18
    }
}

/// An encoder gave numbers that are none.
struct UnusableVector: EncodingFailure, CustomStringConvertible {
    let name: String
    var reason: String { "answer" }
    var description: String {
        "\(name) has made nothing but vectors that hold NaN or an infinite number; check the "
            + "model's weights"
    }
}

extension MakerCounts {
    mutating func add(_ call: EncoderCall) {
        texts += Int64(call.made.count)
        withoutVector += Int64(call.made.count { $0.halves.allSatisfy { $0 == 0 } })
        seconds += call.seconds
        lastError = call.message
        if let reason = call.reason { failures[reason, default: 0] += 1 }
    }
}

/// Encodes in the caller's turn: nothing depends on time, so two runs give the same bytes.
///
/// After the n-th failure in a row it tries again when records have come 2ⁿ times (64 at most).
public final class InlineVectorMaker: VectorMaker {
    private let encoder: any TextEncoder
    private let batch: Int
    private var queue = TextQueue()
    private var made: [MadeVector] = []
    private var failuresInARow = 0
    private var turnsToWait = 0
    public private(set) var counts = MakerCounts()

    /// - Parameter batch: texts of one call, at most.
    public init(_ encoder: any TextEncoder, batch: Int) {
        self.encoder = encoder
        self.batch = batch
    }

    public var identity: EncoderIdentity { encoder.identity }
    public var dimension: Int { encoder.dimension }
    public var room: Int { TextQueue.limit - queue.count }
    public var isFailing: Bool { turnsToWait > 0 }

    public func request(_ key: Hash128, _ text: ByteSlice) { _ = queue.append(key, text) }

    public func take(patienceMilliseconds: Int) -> [MadeVector] {
        var made: [MadeVector] = []
        while turnsToWait == 0, !queue.waiting.isEmpty {
            let texts = queue.removeFirst(batch)
            let call = EncoderCall(encoder, texts, after: counts)
            counts.add(call)
            guard call.reason == nil else {
                queue.putBack(texts)
                failuresInARow += 1
                turnsToWait = 1 << min(6, failuresInARow)
                break
            }
            failuresInARow = 0
            for text in texts { queue.settle(text.key) }
            made += call.made
        }
        return made
    }

    public func recordsCame() { turnsToWait = max(0, turnsToWait - 1) }
}
