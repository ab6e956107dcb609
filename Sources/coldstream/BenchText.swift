// `coldstream bench text`: texts a second of the encoders, on one thread.

import DeterministicMath
import JSON
import LineFiles
import Tensors
import TextEncoding

/// Prints texts a second as a table, or as JSON `[{name, value, unit, detail}]`.
///
/// - Parameters:
///   - model: folder of the sentence encoder; nil for the installed one, if any.
///   - path: a catalog (lines with title and description) or plain lines; nil for 2,000 made ones.
///   - repeats: passes over the texts; the fastest counts.
func benchText(
    model: String?, texts path: String?, numerics: KernelClass?, repeats: Int, json: Bool
) throws {
    if let numerics { try KernelChoice.choose(numerics) }
    let texts = try path.map(readTexts) ?? madeTexts(2_000)
    let bytes = texts.reduce(0) { $0 + $1.count }
    let about = "\(texts.count) texts of \(bytes / max(1, texts.count)) bytes"
    var figures: [TextFigure] = []
    func measure(_ name: String, _ encoder: any TextEncoder, _ detail: String) throws {
        var vectors = [Float](repeating: 0, count: texts.count * encoder.dimension)
        var speeds: [Double] = []
        for _ in 0..<repeats {
            let start = ProcessFacts.seconds
            try vectors.withUnsafeMutableBufferPointer { try encoder.encode(texts, into: $0) }
            speeds.append(Double(texts.count) / (ProcessFacts.seconds - start))
        }
        figures.append(
            TextFigure(
                name: name, least: speeds.min()!, most: speeds.max()!, detail: detail))
    }
    let folder =
        model
        ?? InstalledModel.folder(ProcessFacts.environment).flatMap {
            InstalledModel.isThere($0) ? $0 : nil
        }
    if let folder {
        let encoder = try BertEncoder(folder: folder)
        try measure(
            "text.minilm", encoder,
            "\(encoder.identity.name), \(about), at most \(encoder.maximumTokens) tokens, "
                + "\(KernelChoice.blasName) kernels, one thread")
    } else {
        say("no model: only hashed n-grams are measured; `coldstream text install` brings one")
    }
    let memory = ProcessFacts.memoryPeak
    try measure("text.ngrams", HashedNGrams(), "\(about), one thread")
    if json {
        let lines = figures.map {
            JSONValue.object([
                JSONMember("name", .text($0.name)), JSONMember("value", .number($0.most)),
                JSONMember("unit", .text("texts/s")), JSONMember("detail", .text($0.detail)),
            ]).canonicalText
        }
        print("[" + lines.joined(separator: ",\n ") + "]")
        return
    }
    for figure in figures {
        print(
            "\(figure.name)  \(Int(figure.most)) texts/s  [\(Int(figure.least)) .. \(Int(figure.most))]"
                + "  \(figure.detail)")
    }
    print("peak memory  \(memory >> 20) MiB")
}

/// Texts a second over the passes; the most counts, because whatever else runs only takes.
private struct TextFigure {
    let name: String
    let least: Double
    let most: Double
    let detail: String
}

/// `title. description` of a catalog's lines; other lines as they are.
private func readTexts(_ path: String) throws -> [[UInt8]] {
    var reader = try LineReader.open(path)
    var texts: [[UInt8]] = []
    while let line = try reader.next() {
        let json =
            line.bytes.count > 0 && line.bytes[0] == UInt8(ascii: "{")
            ? try? JSONValue(parsing: line.bytes) : nil
        if let title = json?["title"]?.text {
            texts.append(Array("\(title). \(json?["description"]?.text ?? "")".utf8))
        } else {
            texts.append(line.bytes.copy())
        }
    }
    return texts
}

/// Made-up titles and descriptions of common words, the same on every machine.
private func madeTexts(_ count: Int) -> [[UInt8]] {
    let words = """
        the of a to in is for on with as at by from up about into over after a an night city war love \
        family story young woman man detective ship island journey secret home winter friend music letter \
        horse garden mountain river king doctor teacher stranger summer train island children mother
        """.split(separator: " ")
    var random = Random(seed: 1)
    return (0..<count).map { _ in
        let length = 3 + random.below(90)
        return Array(
            (0..<length).map { _ in words[random.below(words.count)] }
                .joined(separator: " ").utf8)
    }
}
