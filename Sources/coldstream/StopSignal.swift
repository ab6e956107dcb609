// SIGINT and SIGTERM: asked between two turns, so that a stop is always at a commit.

#if canImport(Glibc)
    import Glibc
#endif

/// Whether somebody asked the process to stop.
enum StopSignal {
    /// Written by the handler alone, which is why it is a plain word.
    nonisolated(unsafe) private static var number: Int32 = 0
    /// Written before anybody asks.
    nonisolated(unsafe) private static var parent: pid_t?

    /// From now on the first signal asks; a second one kills as it always did.
    ///
    /// - Parameter supervisor: the process whose end asks too.
    static func watch(supervisor: Int? = nil) {
        parent = supervisor.map { pid_t($0) }
        for signal in [SIGINT, SIGTERM] { Glibc.signal(signal, noteStopSignal) }
    }

    static var isRaised: Bool { number != 0 || parent.map { getppid() != $0 } ?? false }

    fileprivate static func note(_ signal: Int32) {
        number = signal
        Glibc.signal(signal, SIG_DFL)
    }
}

private func noteStopSignal(_ signal: Int32) { StopSignal.note(signal) }
