// How the process ends, for scripts and supervisors.

import Contracts
import EventMapping
import FleetSettings
import Gateway
import JSON
import KafkaTransactions
import LineFiles
import Reports
import Streams
import Tensors
import TextEncoding
import WorkerRuntime

/// The exit codes; supervisors decide by them whether to start a process again.
enum ExitCode: Int32, CaseIterable {
    case done = 0
    case checkFailed = 1
    case usage = 64
    case badData = 65
    /// Kafka cannot be reached, or a model cannot be fetched.
    case unavailable = 69
    case bug = 70
    /// Not finished, or stopped by a signal: the same command goes on.
    case restart = 75
    /// Another process runs in this slot; do not come back at once.
    case fenced = 76
    /// The settings are wrong; do not come back.
    case settings = 78

    init(of error: any Error) {
        switch error {
        case is SettingsError, is EventMapError: self = .settings
        case is TextInstallationError: self = .unavailable
        case is TextEncodingError, is SafetensorsError: self = .badData
        case is LineFileError, is IngestError, is ReportError, is JSONError, is ContractError,
            is StateError:
            self = .badData
        case let error as LogFolderError:
            switch error.kind {
            case .system: self = .restart
            case .inUse: self = .fenced
            case .damaged: self = .badData
            case .otherTopics: self = .settings
            }
        case is KafkaError, is KafkaLogError, is WorkerSettingsError, is Quarantine:
            self = ExitCode(rawValue: WorkerRuntime.ExitCode(error).rawValue) ?? .bug
        default: self = .bug
        }
    }
}
