// `coldstream config`: settings, checked and explained.

import CommandLineArguments
import FleetSettings
import JSON
import Reports

enum ConfigCommand {
    static let config = Option<String?>(
        "config", "FILE", help: "the settings; without it coldstream.json in this folder, if there"
    ).short("c").completing(.files)
    static let set = Option<[String]>(
        "set", "PATH=VALUE", help: "one setting, over the file's: --set publish_period_ms=40")
    static let effective = Flag(
        "effective", help: "every setting, those left to their defaults too")

    static let command = Command<Action>(
        "config", "Checks and shows settings.",
        subcommands: [
            Command(
                "check", "Says whether the settings can be used.", [config, set],
                action: { arguments in
                    let settings = try read(arguments)
                    let given = settings.effective().filter { $0.origin != .builtIn }.count
                    print(
                        "\(settings.file): fleet \(settings.fleet), \(given) settings given, "
                            + "\(settings.domains.count) domains named; nothing is wrong")
                    return .done
                }),
            Command(
                "show", "Shows settings with where each comes from.", [config, set, effective],
                action: show),
            Command(
                "schema", "Prints the JSON Schema of the settings file, for editors.",
                action: { _ in
                    print(FleetSettings.schema().canonicalText)
                    return .done
                }),
        ])

    private static func read(_ arguments: Arguments) throws -> FleetSettings {
        try SettingsFile.read(arguments[config], inputFolder: ".", arguments[set])
    }

    private static func show(_ arguments: Arguments) throws -> ExitCode {
        let rows = try read(arguments).effective().filter {
            arguments[effective] || $0.origin != .builtIn
        }
        if arguments.isJSON {
            print(
                JSONValue.array(
                    rows.map { row in
                        .object([
                            JSONMember("path", .text(row.path)),
                            JSONMember("value", row.value ?? .null),
                            JSONMember("origin", .text(row.origin.rawValue)),
                            JSONMember("applies", .text(row.isLive ? "live" : "restart")),
                        ])
                    }
                ).canonicalText)
            return .done
        }
        var table = TextTable(
            [("setting", .left), ("value", .left), ("from", .left), ("applies", .left)])
        for row in rows {
            table.append([
                row.path, row.value?.canonicalText ?? "–", row.origin.rawValue,
                row.isLive ? "live" : "restart",
            ])
        }
        print(rows.isEmpty ? "every setting has its default\n" : table.text, terminator: "")
        return .done
    }
}
