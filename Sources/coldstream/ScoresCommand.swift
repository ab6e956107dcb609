// `coldstream scores` and `coldstream stats`: what a run published, from its output folder.

import CommandLineArguments
import JSON
import Reports

/// Options of the commands that look into an output folder.
enum OutputFolder {
    static let from = Option<String>(
        "from", "DIR", help: "the output folder of a run"
    ).completing(.directories)
    static let domain = Argument<String>("DOMAIN", help: "a domain's name")

    /// What to say of a domain that is not there.
    static func unknown(_ domain: String, _ known: [String], _ folder: String) -> ReportError {
        let nearest = nearestWord(to: domain, in: known)
        return ReportError(
            "\(folder) has no domain \(domain)"
                + (nearest.map { "; did you mean \($0)?" }
                    ?? "; it has \(known.joined(separator: ", "))"))
    }
}

enum ScoresCommand {
    static let query = Option<String?>(
        "query", "TEXT", help: "in a search domain: the scores for this query")
    static let count = Option<Int>("count", "N", default: 20, help: "how many").short("n")
        .within(1...1_000_000)

    static let command = Command<Action>(
        "scores", "Shows published scores.",
        subcommands: [
            Command(
                "top", "The items of a domain with the highest scores.",
                [OutputFolder.domain, OutputFolder.from, query, count], action: top)
        ])

    private static func top(_ arguments: Arguments) throws -> ExitCode {
        let (folder, domain) = (arguments[OutputFolder.from], arguments[OutputFolder.domain])
        let lines = try ScoreFile.top(
            folder: folder, domain: domain, query: arguments[query], count: arguments[count])
        if lines.isEmpty {
            let known = try OutputRecords.statistics(folder: folder, domain: domain).domains
            guard known.contains(domain) else {
                throw OutputFolder.unknown(domain, known, folder)
            }
            throw ReportError("\(folder) has no scores of \(domain) for that query")
        }
        if arguments.isJSON {
            print(JSONValue.array(lines.map(\.json)).canonicalText)
            return .done
        }
        let hasQueries = lines.contains { $0.query != nil }
        var table = TextTable(
            (hasQueries ? [("query", .left)] : [])
                + [
                    ("item", .left), ("score", .right), ("90 % interval", .left),
                    ("labels", .right),
                    ("impressions", .right), ("stage", .left),
                ])
        for line in lines {
            let interval = line.interval
            table.append(
                (hasQueries ? [line.query ?? "–"] : [])
                    + [
                        line.item, Formatted.unit(line.score),
                        Formatted.unit(interval.lowerBound) + "–"
                            + Formatted.unit(interval.upperBound),
                        Formatted.count(line.labels), Formatted.count(line.impressions), line.stage,
                    ])
        }
        print(table.text, terminator: "")
        return .done
    }
}

enum StatsCommand {
    static let command = Command<Action>(
        "stats", "Shows what has been counted in a domain.",
        [OutputFolder.domain, OutputFolder.from],
        action: { arguments in
            let (folder, domain) = (arguments[OutputFolder.from], arguments[OutputFolder.domain])
            let (record, known) = try OutputRecords.statistics(folder: folder, domain: domain)
            guard let record else { throw OutputFolder.unknown(domain, known, folder) }
            print(
                arguments.isJSON
                    ? record.canonicalText + "\n" : OutputRecords.text(ofStatistics: record),
                terminator: "")
            return .done
        })
}
