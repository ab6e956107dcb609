// A record that ends the process is noted before it does, so that it can be skipped when it has done so
// again and again.

import Bytes
import Contracts
import Streams

#if canImport(Glibc)
    import Glibc
#endif

/// Watches the steps of one worker for signals that end the process: a failed precondition, an address
/// that is not ours, an abort of a C library.
///
/// The handler only wakes a thread that has waited for this, and holds the dying one until the note is
/// written or time is over. So nothing runs inside a signal that must not.
final class CrashNotes {
    /// How long a dying process waits for its note.
    static let patienceMilliseconds: Int32 = 10_000
    static let signals = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP]

    private let cursor: UnsafeMutablePointer<StepCursor>
    private let write: (_ partition: Int, CrashNote, _ signal: Int32) -> Void
    private var request: [Int32] = [-1, -1]
    private var answer: [Int32] = [-1, -1]

    /// - Parameters:
    ///   - cursor: what the worker on the calling thread is stepping over.
    ///   - write: called on another thread while that one stands still.
    init(
        _ cursor: UnsafeMutablePointer<StepCursor>,
        write: @escaping (_ partition: Int, CrashNote, _ signal: Int32) -> Void
    ) {
        self.cursor = cursor
        self.write = write
    }

    /// From now on until the process ends; once a process, on the worker's thread.
    func install() {
        guard pipe(&request) == 0, pipe(&answer) == 0 else { return }
        crashWatch.pointee = CrashWatch(
            cursor: cursor, thread: pthread_self(), request: request[1], answer: answer[0])
        let context = Unmanaged.passRetained(self).toOpaque()
        var thread = pthread_t()
        pthread_create(&thread, nil, waitForCrash, context)
        pthread_detach(thread)
        // A stack of its own: the worker's may be what has run out.
        var stack = stack_t()
        stack.ss_size = 64 << 10
        stack.ss_sp = UnsafeMutableRawPointer.allocate(byteCount: stack.ss_size, alignment: 16)
        sigaltstack(&stack, nil)
        var action = sigaction()
        action.__sigaction_handler.sa_handler = noteCrash
        action.sa_flags = Int32(SA_ONSTACK)
        for signal in Self.signals { sigaction(signal, &action, nil) }
    }

    fileprivate func wait() {
        var signal: Int32 = 0
        while read(request[0], &signal, 4) != 4 {}
        let stopped = cursor.pointee
        if let note = stopped.crashNote { write(stopped.partition, note, signal) }
        _ = Glibc.write(answer[1], &signal, 4)
    }
}

/// What the handler reads: plain memory, in place before the first signal.
private struct CrashWatch {
    var cursor: UnsafeMutablePointer<StepCursor>?
    var thread = pthread_t()
    var request: Int32 = -1
    var answer: Int32 = -1
    var isUsed = false
}

private nonisolated(unsafe) let crashWatch: UnsafeMutablePointer<CrashWatch> = {
    let memory = UnsafeMutablePointer<CrashWatch>.allocate(capacity: 1)
    memory.initialize(to: CrashWatch())
    return memory
}()

/// Runs inside a signal: only calls that are allowed there.
private func noteCrash(_ signal: Int32) {
    let watch = crashWatch
    if pthread_equal(pthread_self(), watch.pointee.thread) != 0, !watch.pointee.isUsed,
        let cursor = watch.pointee.cursor, cursor.pointee.offset >= 0
    {
        watch.pointee.isUsed = true
        var signal = signal
        _ = write(watch.pointee.request, &signal, 4)
        var answer = pollfd(fd: watch.pointee.answer, events: Int16(POLLIN), revents: 0)
        poll(&answer, 1, CrashNotes.patienceMilliseconds)
    }
    // The process ends by this signal when the handler returns.
    var standard = sigaction()
    standard.__sigaction_handler.sa_handler = nil  // SIG_DFL
    sigaction(signal, &standard, nil)
    raise(signal)
}

private func waitForCrash(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<CrashNotes>.fromOpaque(context!).takeUnretainedValue().wait()
    return nil
}

extension DeadLetter {
    /// What is published in the place of a record that is skipped; follows from the record alone, so
    /// that a replay gives the same.
    public static func appendSkipped(_ record: Record, to outbox: inout Outbox) {
        appendSkipped(record, headers: nil, by: DeadLetterWriter(), to: &outbox)
    }

    /// - Parameter headers: the record's own, where they are not read with it.
    static func appendSkipped(
        _ record: Record, headers: Headers?, by letters: DeadLetterWriter, to outbox: inout Outbox
    ) {
        letters.append(
            ContractError(
                .crashed, path: "",
                "The record has ended a worker's process again and again, and was skipped."),
            record, ordinal: record.ordinal, headers: headers, to: &outbox)
    }
}
