// A worker process for tests that kill it: CountingWorker ADDRESS FLEET SLOT [at-least-once] [crash-on=KEY]
// [checkpoint-s=N]

import CountingRole
import WorkerRuntime

#if canImport(Glibc)
    import Glibc
#endif

let words = CommandLine.arguments
guard words.count >= 4, let slot = Int(words[3]) else { exit(64) }
var process = CountingProcess(address: words[1], fleet: words[2], slot: slot)
if words.contains("at-least-once") { process.guarantee = .atLeastOnce }
func value(_ name: String) -> String? {
    words.first { $0.hasPrefix("\(name)=") }.map { String($0.dropFirst(name.count + 1)) }
}
process.crashesOn = value("crash-on")
process.checkpointSeconds = value("checkpoint-s").flatMap { Int64($0) } ?? process.checkpointSeconds
let code = process.run(
    until: .ofProcess(), journal: Journal(worker: "\(words[2]).counter.\(slot)"), endsProcess: true)
_exit(code.rawValue)
