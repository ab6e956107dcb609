// Which BERT a folder holds, from the JSON files that come with its weights. What is not understood is
// refused: a model that computes something else would give vectors that look right and are not.

import Bytes
import JSON
import Tensors

/// Sizes of a BERT sentence encoder and how its token vectors become one.
public struct BertConfiguration: Sendable, Equatable {
    public enum Pooling: String, Sendable {
        /// The mean of all token vectors.
        case mean
        /// The vector of the first token.
        case cls
    }

    public var layers: Int
    public var hidden: Int
    public var heads: Int
    public var intermediate: Int
    public var positions: Int
    public var vocabulary: Int
    public var types: Int
    public var epsilon: Float
    public var pooling: Pooling

    /// Reads config.json, and where they are there modules.json with the pooling's config.json and
    /// tokenizer_config.json.
    public init(folder: String) throws(TextEncodingError) {
        let path = folder + "/config.json"
        guard let json = try Self.json(path) else {
            throw TextEncodingError(
                path, "is not there; a model folder needs config.json, vocab.txt, model.safetensors"
            )
        }
        func refuse(_ reason: String) -> TextEncodingError { TextEncodingError(path, reason) }
        func expect(_ name: String, _ value: String, required: Bool) throws(TextEncodingError) {
            guard let given = json[name] else {
                if required { throw refuse("does not say \(name); only \(value) is understood") }
                return
            }
            guard given.text == value else {
                throw refuse(
                    "says \(name) \(given.text ?? "that is no text"); only \(value) is understood")
            }
        }
        try expect("model_type", "bert", required: true)
        try expect("hidden_act", "gelu", required: true)
        try expect("position_embedding_type", "absolute", required: false)
        for name in ["is_decoder", "add_cross_attention"] where json[name]?.boolean == true {
            throw refuse("says \(name); only encoders are understood")
        }
        func size(_ name: String, _ most: Int64) throws(TextEncodingError) -> Int {
            guard let value = json[name]?.integer, value > 0, value <= most else {
                throw refuse("gives no \(name) from 1 to \(most)")
            }
            return Int(value)
        }
        layers = try size("num_hidden_layers", 128)
        hidden = try size("hidden_size", 8192)
        heads = try size("num_attention_heads", 256)
        intermediate = try size("intermediate_size", 65_536)
        positions = try size("max_position_embeddings", 65_536)
        vocabulary = try size("vocab_size", 4_000_000)
        types = try size("type_vocab_size", 64)
        guard hidden % heads == 0 else {
            throw refuse("has a hidden_size of \(hidden), no multiple of its \(heads) heads")
        }
        guard let epsilon = json["layer_norm_eps"]?.double, epsilon > 0, epsilon < 1 else {
            throw refuse("gives no layer_norm_eps between 0 and 1")
        }
        self.epsilon = Float(epsilon)
        pooling = try Self.pooling(folder)
        try Self.checkTokenizer(folder)
    }

    /// Mean where nothing is said.
    private static func pooling(_ folder: String) throws(TextEncodingError) -> Pooling {
        let path = folder + "/modules.json"
        var poolingFolder = "1_Pooling"
        if let json = try json(path) {
            guard let modules = json.array else { throw TextEncodingError(path, "is no list") }
            for module in modules {
                let type = module["type"]?.text?.split(separator: ".").last.map(String.init) ?? ""
                switch type {
                case "Transformer", "Normalize": break
                case "Pooling": poolingFolder = module["path"]?.text ?? poolingFolder
                default:
                    throw TextEncodingError(
                        path,
                        "has a module \(type); only Transformer, Pooling and Normalize are "
                            + "understood")
                }
            }
        }
        let poolingPath = "\(folder)/\(poolingFolder)/config.json"
        guard let json = try json(poolingPath) else { return .mean }
        var modes: [String] = []
        if let mode = json["pooling_mode"]?.text { modes.append(mode) }
        let prefix = "pooling_mode_"
        for member in json.members ?? []
        where member.name.hasPrefix(prefix) && member.value.boolean == true {
            modes.append(String(member.name.dropFirst(prefix.count)))
        }
        switch modes {
        case ["mean_tokens"], ["mean"], []: return .mean
        case ["cls_token"], ["cls"]: return .cls
        default:
            throw TextEncodingError(
                poolingPath,
                "pools by \(modes.joined(separator: " and ")); only mean and cls are understood")
        }
    }

    private static func checkTokenizer(_ folder: String) throws(TextEncodingError) {
        let path = folder + "/tokenizer_config.json"
        guard let json = try json(path) else { return }
        for (name, wrong) in [
            ("do_lower_case", "a cased vocabulary"), ("tokenize_chinese_chars", "CJK left whole"),
            ("strip_accents", "accents left in place"), ("do_basic_tokenize", "no split at spaces"),
        ] where json[name]?.boolean == false {
            throw TextEncodingError(
                path, "says \(name) false; \(wrong) is not understood, only uncased BERT")
        }
    }

    /// The JSON value in a file; nil where there is none.
    private static func json(_ path: String) throws(TextEncodingError) -> JSONValue? {
        guard MappedFile.exists(path) else { return nil }
        do {
            let file = try MappedFile(path)
            let bytes = file.lend { $0.copy() }
            return try JSONValue(parsing: bytes)
        } catch {
            throw TextEncodingError(path, "cannot be read: \(error)")
        }
    }
}
