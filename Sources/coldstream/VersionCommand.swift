// `coldstream version` and `coldstream completion`: about the tool itself.

import CommandLineArguments
import Contracts
import JSON
import KafkaTransactions

enum VersionCommand {
    static let version = WriterIdentity.version

    static let command = Command<Action>(
        "version", "Says which version and librdkafka this is, and which records it writes.",
        action: { arguments in
            let schemas = TopicContract.all.map(\.schemaHeader)
            if arguments.isJSON {
                print(
                    JSONValue.object([
                        JSONMember("version", .text(version)),
                        JSONMember("librdkafka", .text("\(LibraryVersion.running)")),
                        JSONMember("schemas", .array(schemas.map { .text($0) })),
                    ]).canonicalText)
            } else {
                print("coldstream \(version)")
                print("librdkafka \(LibraryVersion.running)")
                print("records: \(schemas.joined(separator: " "))")
            }
            return .done
        })
}

enum CompletionCommand {
    static let shell = Argument<Shell>("SHELL", help: "which shell")

    static let command = Command<Action>(
        "completion",
        "Prints a script that completes commands: source <(coldstream completion bash).",
        [shell],
        action: { arguments in
            print(commandLineTool.completionScript(for: arguments[shell]), terminator: "")
            return .done
        })
}
