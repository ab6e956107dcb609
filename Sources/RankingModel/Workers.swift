// Helpers of one thread: a loop over rows is cut into lanes that run side by side.

import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Threads that share the rows of a step.
///
/// The cut into lanes depends on the number of rows alone, never on the number of threads, and sums
/// over lanes are added in their order: a result has the same bits for any number of threads.
public final class Workers {
    public let threads: Int
    /// Lanes of a loop over rows.
    public static let lanes = 2
    /// Rows below which a loop is not cut.
    static let least = 128

    private let shared: Shared
    private var helpers: [pthread_t] = []

    public init(threads: Int) {
        precondition(threads >= 1, "\(threads) threads")
        self.threads = min(threads, Workers.lanes)
        shared = Shared()
        for helper in 1..<max(2, self.threads) where helper < self.threads {
            let seat = Unmanaged.passRetained(shared)
            var thread = pthread_t()
            let code = pthread_create(&thread, nil, helperMain, seat.toOpaque())
            precondition(code == 0, "pthread_create failed with \(code)")
            helpers.append(thread)
        }
    }

    deinit {
        shared.stop()
        for helper in helpers { pthread_join(helper, nil) }
    }

    /// Calls `body(lane, lower, upper)` for each lane of 0..<count, on this thread and its helpers.
    @inline(__always)
    func split(_ count: Int, mode: Network.Mode, _ body: (Int, Int, Int) -> Void) {
        if count < Workers.least || mode == .serve {
            body(0, 0, count)
            return
        }
        let half = ((count &+ 1) / 2 &+ 15) & ~15
        pair({ body(0, 0, half) }, { body(1, half, count) })
    }

    /// Runs two pieces of work that do not touch each other.
    func pair(_ first: () -> Void, _ second: () -> Void) {
        if threads == 1 {
            first()
            second()
            return
        }
        withoutActuallyEscaping(second) { second in
            shared.start(second)
            first()
            shared.finish()
        }
    }
}

/// One seat of work that the owner fills and a helper empties.
private final class Shared: @unchecked Sendable {
    private var work: (() -> Void)?
    /// Looks at the turn before a waiting thread gives its core away: about two milliseconds, longer
    /// than the parts of a step that one thread does alone.
    private static let patience = 1 << 21
    /// Odd while work waits or runs, even when it is done; the top bit says stop.
    private let turn = Atomic<UInt64>(0)

    func start(_ work: @escaping () -> Void) {
        self.work = work
        turn.add(1, ordering: .releasing)
    }

    /// Waits for the helper: at first at full attention, then giving way to whoever wants the core.
    func finish() {
        var spins = 0
        while turn.load(ordering: .acquiring) & 1 == 1 {
            spins += 1
            if spins > Self.patience { sched_yield() }
        }
        work = nil
    }

    func stop() { turn.bitwiseOr(1 << 63, ordering: .releasing) }

    func serve() {
        var idle = 0
        while true {
            let now = turn.load(ordering: .acquiring)
            if now >> 63 == 1 { return }
            if now & 1 == 1 {
                work?()
                turn.add(1, ordering: .releasing)
                idle = 0
            } else {
                idle += 1
                if idle > Self.patience { usleep(50) }
            }
        }
    }
}

private func helperMain(_ seat: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<Shared>.fromOpaque(seat!).takeRetainedValue().serve()
    return nil
}
