// Secrets that are searched for, and the search.

import Foundation

/// A made-up secret that appears nowhere by chance.
enum Canary {
    static func make(_ name: String) -> String {
        "canary-\(name)-\(UUID().uuidString.lowercased())"
    }
}

/// Looks for secrets in what processes leave and show.
struct CanarySearch {
    let secrets: [String]

    /// Where a secret was found.
    struct Hit: Equatable, CustomStringConvertible {
        let place: String
        let description: String
    }

    /// Looks in a text.
    func hits(in text: String, of place: String) -> [Hit] {
        secrets.filter { text.contains($0) }.map {
            Hit(place: place, description: "\(place) shows \($0.prefix(24))…")
        }
    }

    /// Looks in every file of a folder.
    func hits(inFolder folder: String) throws -> [Hit] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted().flatMap {
            let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\($0)"))
            return hits(in: String(decoding: data, as: UTF8.self), of: $0)
        }
    }

    /// Looks in the command line of every process on this machine.
    func hitsInCommandLines() -> [Hit] {
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return processes.filter { Int($0) != nil }.flatMap { id -> [Hit] in
            let data =
                (try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(id)/cmdline"))) ?? Data()
            return hits(in: String(decoding: data, as: UTF8.self), of: "/proc/\(id)/cmdline")
        }
    }
}
