// The table of rights in `ops/README.md`, as operators read it.

import Foundation
import KafkaTestBroker

enum RightsTable {
    /// What the table gives to each role, by the role's name.
    static func rights(fleet: String) throws -> [String: [Right]] {
        let path = RealBroker.package.appendingPathComponent("ops/README.md")
        let lines = try String(contentsOf: path, encoding: .utf8).split(separator: "\n")
        guard let heading = lines.firstIndex(where: { $0.hasPrefix("| who |") }) else {
            throw CommandFailure(description: "ops/README.md has no table of rights")
        }
        var result: [String: [Right]] = [:]
        for line in lines[(heading + 2)...] where line.hasPrefix("|") {
            let cells = line.dropFirst().dropLast().split(
                separator: "|", omittingEmptySubsequences: false
            ).map { $0.trimmingCharacters(in: .whitespaces) }
            guard cells.count == 5 else { break }
            result[cells[0]] = rights(cells, fleet)
        }
        return result
    }

    private static func rights(_ cells: [String], _ fleet: String) -> [Right] {
        func names(_ cell: String) -> [String] {
            cell.split(separator: ",").map {
                $0.trimmingCharacters(in: CharacterSet(charactersIn: " `"))
                    .replacingOccurrences(of: "<fleet>", with: fleet)
            }
        }
        let user = cells[0]
        var read = Right(user: user, operations: ["Read"])
        read.topics = names(cells[1]).map { "\(fleet).\($0)" }
        read.groups = names(cells[3])
        var write = Right(user: user, operations: ["Write"])
        write.topics = names(cells[2]).map { "\(fleet).\($0)" }
        var take = Right(user: user, operations: ["Write"])
        take.transactionalIDs = names(cells[4])
        take.isPrefix = true
        return [read, write, take]
    }

    /// What the text below the table gives to an operator.
    static func operatorRights(fleet: String) -> [Right] {
        let prefix = "\(fleet)."
        func right(_ operations: [String]) -> Right {
            var right = Right(user: "operator", operations: operations)
            right.isPrefix = true
            return right
        }
        var topics = right(["Create", "Read", "Write", "DescribeConfigs", "AlterConfigs"])
        topics.topics = [prefix]
        var groups = right(["Describe"])
        groups.groups = [prefix]
        var ids = right(["Write"])
        ids.transactionalIDs = [prefix]
        return [topics, groups, ids]
    }
}
