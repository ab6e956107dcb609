// `coldstream doctor`: whether a fleet can run on its cluster, and come back after a crash.

import CommandLineArguments
import JSON
import KafkaFleet

#if canImport(Glibc)
    import Glibc
#endif

enum DoctorCommand {
    static let disks = Option<[String]>(
        "disk", "DIR",
        help: "look at the room on this folder's disk: a broker's log.dirs, where doctor runs there"
    ).completing(.directories)

    static let command = Command<Action>(
        "doctor", "Checks a fleet and its cluster, and says what to do.",
        discussion: """
            One line a check. Changes nothing: one record is written to dead-letters and taken back,
            to learn the broker's clock. Ends with 0, with 1 when a check failed, and with 69 when no
            broker answered.
            """,
        [UpCommand.config, UpCommand.set, WorkerCommand.brokers, WorkerCommand.fleet, disks],
        action: { arguments in
            let fleet = try WorkerCommand.kafkaFleet(arguments, warnsOfFixedKey: false)
            var around = Doctor.Surroundings(
                clock: { ProcessFacts.milliseconds }, pause: { usleep(UInt32($0) * 1_000) },
                memoryLimit: ProcessFacts.memoryLimit)
            around.disks = arguments[disks].map(ProcessFacts.disk)
            var doctor = Doctor(fleet, around)
            doctor.examine()
            show(doctor.findings, fleet.settings.fleet, arguments)
            return doctor.isUnreachable ? .unavailable : doctor.hasFailed ? .checkFailed : .done
        })

    private static func show(_ findings: [Finding], _ fleet: String, _ arguments: Arguments) {
        guard arguments.isJSON else {
            let width = findings.map(\.check.count).max() ?? 0
            for finding in findings {
                let check = finding.check.padded(to: width)
                let advice = finding.advice.map { ". To do: \($0)" } ?? ""
                print(
                    "\(finding.outcome.rawValue.padded(to: 7))  \(check)  \(finding.finding)\(advice)"
                )
            }
            return
        }
        let checks = findings.map {
            JSONValue.object([
                JSONMember("check", .text($0.check)),
                JSONMember("outcome", .text($0.outcome.rawValue)),
                JSONMember("finding", .text($0.finding)),
                JSONMember("advice", $0.advice.map { .text($0) } ?? .null),
            ])
        }
        print(
            JSONValue.object([
                JSONMember("fleet", .text(fleet)), JSONMember("checks", .array(checks)),
            ]).canonicalText)
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
