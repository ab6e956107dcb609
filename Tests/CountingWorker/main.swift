// A worker process for tests that kill it: CountingWorker ADDRESS FLEET SLOT [at-least-once] [crash-on=KEY]

import CountingRole
import WorkerRuntime

#if canImport(Glibc)
    import Glibc
#endif

let words = CommandLine.arguments
guard words.count >= 4, let slot = Int(words[3]) else { exit(64) }
var process = CountingProcess(address: words[1], fleet: words[2], slot: slot)
if words.contains("at-least-once") { process.guarantee = .atLeastOnce }
process.crashesOn = words.first { $0.hasPrefix("crash-on=") }.map { String($0.dropFirst(9)) }
let code = process.run(
    until: .ofProcess(), journal: Journal(worker: "\(words[2]).counter.\(slot)"), endsProcess: true)
_exit(code.rawValue)
