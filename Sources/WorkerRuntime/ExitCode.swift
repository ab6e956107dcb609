// How a worker's process ends, so that whoever supervises it knows what to do.

import KafkaTransactions
import Streams

/// The exit codes of contracts.md that a worker uses.
public enum ExitCode: Int32, CaseIterable, Sendable {
    case done = 0
    /// A partition's state does not fit its log: a person must look.
    case badData = 65
    /// No broker answered.
    case unavailable = 69
    case bug = 70
    case restart = 75
    /// Another process runs in this slot: do not restart at once.
    case fenced = 76
    /// Settings, rights or topics: do not restart.
    case settings = 78

    /// What an error of a worker calls for.
    public init(_ error: any Error) {
        switch error {
        case let error as KafkaError:
            self =
                switch error.remedy {
                case .fixSettings: .settings
                case .retry: .unavailable
                case .restart: .restart
                case .standBack: .fenced
                }
        case is Quarantine: self = .badData
        // The group moved on, or the broker did not answer in time: starting again is the answer.
        case is KafkaLogError: self = .restart
        case is WorkerSettingsError: self = .settings
        default: self = .bug
        }
    }

    /// Whether starting the same process again can help, now or later.
    public var allowsRestart: Bool {
        switch self {
        case .restart, .fenced, .unavailable, .bug: true
        case .done, .badData, .settings: false
        }
    }
}

/// A setting of the process that cannot be.
public struct WorkerSettingsError: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
