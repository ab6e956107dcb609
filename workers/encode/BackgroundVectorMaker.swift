// Vectors made on a thread of their own, so that a slow or failing encoder holds nobody up.

import Bytes
import TextEncoding

#if canImport(Glibc)
    import Glibc
#endif

/// Encodes on its own thread, and tries again after a failure by itself: after 1 s, 2 s, 4 s …, at most
/// after a minute.
///
/// The encoder is used on that thread alone. Ends with `stop`.
public final class BackgroundVectorMaker: VectorMaker, @unchecked Sendable {
    // Everything below is guarded by `lock`; the encoder belongs to the thread.
    private let encoder: any TextEncoder
    private let batch: Int
    private let waitsMilliseconds: @Sendable (Int) -> Int
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>
    private var queue = TextQueue()
    private var made: [MadeVector] = []
    private var isAtWork = false
    private var failuresInARow = 0
    private var isStopped = false
    private var hasEnded = false
    private var theCounts = MakerCounts()

    public let identity: EncoderIdentity
    public let dimension: Int

    /// - Parameters:
    ///   - batch: texts of one call, at most.
    ///   - waitsMilliseconds: how long to wait after so many failures in a row.
    public init(
        _ encoder: sending any TextEncoder, batch: Int,
        waitsMilliseconds: @escaping @Sendable (Int) -> Int = { 1_000 << min(6, $0 - 1) }
    ) {
        identity = encoder.identity
        dimension = encoder.dimension
        self.encoder = encoder
        self.batch = batch
        self.waitsMilliseconds = waitsMilliseconds
        lock = .allocate(capacity: 1)
        changed = .allocate(capacity: 1)
        pthread_mutex_init(lock, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
        var thread = pthread_t()
        pthread_create(&thread, nil, work, Unmanaged.passRetained(self).toOpaque())
        pthread_detach(thread)
    }

    deinit {
        pthread_mutex_destroy(lock)
        pthread_cond_destroy(changed)
        lock.deallocate()
        changed.deallocate()
    }

    /// Ends the thread, and waits for the call that it is in.
    public func stop() {
        withLock {
            isStopped = true
            pthread_cond_broadcast(changed)
            while !hasEnded { pthread_cond_wait(changed, lock) }
        }
    }

    public var counts: MakerCounts { withLock { theCounts } }
    public var room: Int { withLock { TextQueue.limit - queue.count } }
    public var isFailing: Bool { withLock { failuresInARow > 0 } }

    public func request(_ key: Hash128, _ text: ByteSlice) {
        withLock { if queue.append(key, text) { pthread_cond_broadcast(changed) } }
    }

    public func take(patienceMilliseconds: Int) -> [MadeVector] {
        withLock {
            let deadline = BackgroundVectorMaker.moment(after: patienceMilliseconds)
            while made.count < queue.count, failuresInARow == 0, !isStopped, wait(until: deadline) {
            }
            // Settled only now: what is asked for again before it is taken is not made twice.
            for vector in made { queue.settle(vector.key) }
            defer { made = [] }
            return made
        }
    }

    public func recordsCame() {}

    private func withLock<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return body()
    }

    private static func moment(after milliseconds: Int) -> timespec {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let nanoseconds = time.tv_nsec + milliseconds % 1_000 * 1_000_000
        return timespec(
            tv_sec: time.tv_sec + milliseconds / 1_000 + nanoseconds / 1_000_000_000,
            tv_nsec: nanoseconds % 1_000_000_000)
    }

    /// Waits for a change; false when the time is over. The lock is held.
    private func wait(until deadline: timespec) -> Bool {
        var deadline = deadline
        return pthread_cond_timedwait(changed, lock, &deadline) == 0
    }

    /// The next texts; nil when the thread is to end.
    private func next() -> [(key: Hash128, text: [UInt8])]? {
        withLock {
            while queue.waiting.isEmpty, !isStopped { pthread_cond_wait(changed, lock) }
            return isStopped ? nil : queue.removeFirst(batch)
        }
    }

    private func settle(_ call: EncoderCall, _ texts: [(key: Hash128, text: [UInt8])]) {
        withLock {
            theCounts.add(call)
            if call.reason == nil {
                failuresInARow = 0
                made += call.made
                pthread_cond_broadcast(changed)
                return
            }
            queue.putBack(texts)
            failuresInARow += 1
            pthread_cond_broadcast(changed)
            let deadline = BackgroundVectorMaker.moment(after: waitsMilliseconds(failuresInARow))
            while !isStopped, wait(until: deadline) {}
        }
    }

    fileprivate func run() {
        while let texts = next() { settle(EncoderCall(encoder, texts, after: counts), texts) }
        withLock {
            hasEnded = true
            pthread_cond_broadcast(changed)
        }
    }
}

private func work(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<BackgroundVectorMaker>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
