// Threads of their own for long computations, which would block Swift's cooperative pool.

import Foundation

/// Runs `body` on `threads` threads at once and waits for all of them.
func concurrently(_ threads: Int, _ body: @escaping @Sendable () -> Void) {
    let done = DispatchGroup()
    for _ in 1..<max(1, threads) {
        done.enter()
        let thread = Thread {
            body()
            done.leave()
        }
        // As much as the main thread has.
        thread.stackSize = 8 << 20
        thread.start()
    }
    body()
    done.wait()
}
