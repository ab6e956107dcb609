// How long the fuzz tests run.

import Foundation

enum FuzzSize {
    static func records(default normal: Int) -> Int {
        ProcessInfo.processInfo.environment["COLDSTREAM_FUZZ_RECORDS"].flatMap(Int.init) ?? normal
    }
}
