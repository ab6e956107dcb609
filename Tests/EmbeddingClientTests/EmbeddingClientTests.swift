// The client against a server that does everything a server can do wrong.

import Bytes
import Contracts
import Encode
import JSON
import Streams
import Synchronization
import TextEncoding
import Testing

@testable import EmbeddingClient

private final class Waits {
    var milliseconds: [Int] = []
}

private func makeClient(
    _ server: TestServer, secret: String? = nil, batch: Int = 4, concurrency: Int = 2,
    timeout: Int = 5_000, waits: Waits = Waits(), dimension: Int = 3
) throws -> EmbeddingClient {
    var settings = try EmbeddingSettings(url: server.url, model: "m", dimension: dimension)
    settings.batch = batch
    settings.concurrency = concurrency
    settings.timeoutMilliseconds = timeout
    return try EmbeddingClient(settings, secret: secret) { waits.milliseconds.append($0) }
}

private func encode(_ client: EmbeddingClient, _ texts: [String]) throws -> [[Float]] {
    let d = client.dimension
    let vectors = UnsafeMutableBufferPointer<Float>.allocate(capacity: texts.count * d)
    vectors.initialize(repeating: .nan)
    defer { vectors.deallocate() }
    try client.encode(texts.map { Array($0.utf8) }, into: vectors)
    return texts.indices.map { Array(vectors[$0 * d..<($0 + 1) * d]) }
}

private func unit(_ text: String) -> [Float] {
    let vector = served(text)
    let norm = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return vector.map { Float($0 / norm) }
}

private func close(_ a: [[Float]], _ b: [[Float]]) -> Bool {
    a.count == b.count
        && zip(a, b).allSatisfy { zip($0, $1).allSatisfy { abs($0 - $1) < 1e-6 } }
}

private func failure(_ body: () throws -> Void) -> EmbeddingError? {
    do {
        try body()
        return nil
    } catch { return error as? EmbeddingError }
}

@Suite(.serialized) struct EmbeddingClientTests {
    @Test func `texts go out in batches and vectors come back in order and of unit length`() throws
    {
        let server = TestServer { request, _ in .answer(200, answer(request.texts)) }
        defer { server.stop() }
        let client = try makeClient(server)
        let texts = (0..<11).map { "text \($0) ü \"quoted\"\n" }
        let vectors = try encode(client, texts)
        #expect(close(vectors, texts.map(unit)))
        #expect(server.requests.map(\.texts.count).sorted() == [3, 4, 4])
        #expect(server.requests.allSatisfy { $0.path == "/v1/embeddings" })
        let body = try JSONValue(parsing: server.requests[0].body)
        #expect(body["model"]?.text == "m")
        #expect(body["encoding_format"]?.text == "float")
        #expect(server.requests[0].headers["authorization"] == nil)
        #expect(try encode(client, []).isEmpty)
    }

    @Test func `no more requests than allowed are on their way`() throws {
        let server = TestServer { request, _ in .answer(200, answer(request.texts)) }
        defer { server.stop() }
        let client = try makeClient(server, batch: 1, concurrency: 3)
        _ = try encode(client, (0..<40).map { "\($0)" })
        #expect(server.requests.count == 40)
        #expect(server.mostActive <= 3)
    }

    @Test func `what passes is tried again, after growing waits`() throws {
        let server = TestServer { request, number in
            switch number {
            case 0: .raw("")
            case 1: .answer(500, "oops")
            case 2: .raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"data\":[")
            default: .answer(200, answer(request.texts))
            }
        }
        defer { server.stop() }
        let waits = Waits()
        let client = try makeClient(server, waits: waits)
        #expect(close(try encode(client, ["a"]), [unit("a")]))
        #expect(waits.milliseconds.count == 3)
        for (wait, whole) in zip(waits.milliseconds, [500, 1_000, 2_000]) {
            #expect(wait > whole / 2 - 1 && wait <= whole)
        }
    }

    @Test(arguments: [429, 503])
    func `a server that asks for a wait gets it`(status: Int) throws {
        let server = TestServer { request, number in
            number == 0
                ? .answer(status, headers: ["Retry-After: 7"], "slow down")
                : .answer(200, answer(request.texts))
        }
        defer { server.stop() }
        let waits = Waits()
        let client = try makeClient(server, waits: waits)
        #expect(close(try encode(client, ["a"]), [unit("a")]))
        #expect(waits.milliseconds == [7_000])
    }

    @Test func `a wait of an hour is left to whoever asks next`() throws {
        let server = TestServer { _, _ in .answer(429, headers: ["Retry-After: 3600"], "") }
        defer { server.stop() }
        let waits = Waits()
        let client = try makeClient(server, waits: waits)
        let error = failure { _ = try encode(client, ["a"]) }
        #expect(error?.reason == "throttled")
        #expect(error?.remedy == .retry)
        #expect(waits.milliseconds.isEmpty)
    }

    @Test(
        arguments: [
            (Reply.answer(500, ""), "server"), (.hang, "timeout"), (.drip, "timeout"),
            (.raw("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"data\":"), "unreachable"),
            (.answer(200, "<html>"), "answer"),
            (.answer(200, ""), "answer"), (.answer(200, #"{"data":[]}"#), "answer"),
            (.answer(200, #"{"data":{}}"#), "answer"), (.answer(200, "[]"), "answer"),
            (
                .answer(
                    200,
                    #"{"data":[{"index":0,"embedding":[1,2,3]},{"index":0,"embedding":[1,2,3]}]}"#),
                "answer"
            ),
            (.answer(200, #"{"data":[{"index":1,"embedding":[1,2,3]}]}"#), "answer"),
            (.answer(200, #"{"data":[{"embedding":[1,2,3]}]}"#), "answer"),
            (.answer(200, #"{"data":[{"index":0,"embedding":[NaN,2,3]}]}"#), "answer"),
            (.answer(200, #"{"data":[{"index":0,"embedding":[null,2,3]}]}"#), "answer"),
            (.answer(200, #"{"data":[{"index":0,"embedding":[1e39,2,3]}]}"#), "answer"),
            (.answer(200, #"{"data":[{"index":0,"embedding":[1e999,2,3]}]}"#), "answer"),
            (.answer(200, #"{"data":[{"index":0,"embedding":[Infinity,2,3]}]}"#), "answer"),
            (.answer(200, #"{"data":[{"index":0,"embedding":[0,0,0]}]}"#), "answer"),
            (.answer(200, #"{"data":[{"index":0,"embedding":"AACAPw=="}]}"#), "answer"),
            (.answer(200, String(repeating: " ", count: 1 << 20)), "answer"),
        ] as [(Reply, String)])
    func `whatever else comes is a failure by name, and nothing is kept`(
        reply: Reply, reason: String
    ) throws {
        let server = TestServer { _, _ in reply }
        defer { server.stop() }
        let client = try makeClient(server, timeout: reason == "timeout" ? 150 : 10_000)
        let error = failure { _ = try encode(client, ["a"]) }
        #expect(error?.reason == reason, "\(error?.description ?? "no error")")
        #expect(error?.remedy == .retry)
    }

    @Test func `a server that speaks something else is a wrong address`() throws {
        let server = TestServer { _, _ in .raw("SSH-2.0-nonsense\r\n") }
        defer { server.stop() }
        let client = try makeClient(server)
        let error = failure { _ = try encode(client, ["a"]) }
        #expect(error?.remedy == .fixSettings)
        #expect(error?.description.contains("text.url") == true)
    }

    @Test func `nobody who listens is a server that cannot be reached`() throws {
        let server = TestServer { _, _ in .hang }
        server.stop()
        let client = try makeClient(server)
        let error = failure { _ = try encode(client, ["a"]) }
        #expect(error?.reason == "unreachable" || error?.reason == "timeout")
    }

    @Test(arguments: [
        (401, "key"), (403, "key"), (404, "text.model"), (301, "redirect"), (308, "redirect"),
        (400, "text.model"),
    ])
    func `what trying again does not mend says what to correct, at once`(
        status: Int, word: String
    ) throws {
        let secret = "sk-very-secret"
        let server = TestServer { _, _ in
            .answer(
                status, headers: ["Location: http://127.0.0.1:9/elsewhere"], "you sent \(secret)")
        }
        defer { server.stop() }
        let client = try makeClient(server, secret: secret)
        let error = failure { _ = try encode(client, ["a"]) }
        #expect(error?.remedy == .fixSettings)
        #expect(error?.reason == "settings")
        let text = error?.description ?? ""
        #expect(text.contains(word), "\(text)")
        #expect(!text.contains(secret), "\(text)")
        #expect(server.requests.count == 1)
        #expect(server.requests[0].headers["authorization"] == "Bearer \(secret)")
    }

    @Test func `another dimension is a setting to correct`() throws {
        let server = TestServer { request, _ in .answer(200, answer(request.texts)) }
        defer { server.stop() }
        let client = try makeClient(server, dimension: 4)
        let error = failure { _ = try encode(client, ["a"]) }
        #expect(error?.remedy == .fixSettings)
        #expect(error?.description.contains("3 numbers, not 4") == true)
        #expect(error?.description.contains("text.dimension") == true)
    }

    @Test func `one text that the server refuses has no vector, and the others have theirs`() throws
    {
        let server = TestServer { request, _ in
            request.texts.contains("bad")
                ? .answer(400, "too long") : .answer(200, answer(request.texts))
        }
        defer { server.stop() }
        let client = try makeClient(server, batch: 8)
        let texts = ["a", "b", "bad", "c", "d", "e"]
        let vectors = try encode(client, texts)
        #expect(close(vectors, texts.map { $0 == "bad" ? [0, 0, 0] : unit($0) }))
        #expect(client.refused == 1)
    }

    @Test func `one text whose numbers are none has no vector either`() throws {
        let server = TestServer { request, _ in
            .answer(200, answer(request.texts) { $0 == "bad" ? [0, 0, 0] : served($0) })
        }
        defer { server.stop() }
        let client = try makeClient(server, batch: 3)
        let vectors = try encode(client, ["a", "bad", "c"])
        #expect(close(vectors, [unit("a"), [0, 0, 0], unit("c")]))
    }

    @Test func `what came while others failed is not asked for again`() throws {
        let isUp = Atomic(false)
        let server = TestServer { request, _ in
            request.texts.contains("late") && !isUp.load(ordering: .sequentiallyConsistent)
                ? .answer(500, "") : .answer(200, answer(request.texts))
        }
        defer { server.stop() }
        let client = try makeClient(server, batch: 1)
        #expect(failure { _ = try encode(client, ["a", "late", "c"]) } != nil)
        isUp.store(true, ordering: .sequentiallyConsistent)
        let before = server.requests.count
        #expect(close(try encode(client, ["a", "late", "c"]), ["a", "late", "c"].map(unit)))
        #expect(server.requests.count == before + 1)
    }

    @Test(arguments: [
        ("http://h:1", "http://h:1/v1/embeddings"), ("https://h/", "https://h/v1/embeddings"),
        ("http://h/v1", "http://h/v1/embeddings"), ("http://h/v1/", "http://h/v1/embeddings"),
        ("http://h/openai/embeddings?x=1", "http://h/openai/embeddings?x=1"),
    ])
    func `an address without a path gets the usual one`(given: String, expected: String) throws {
        #expect(try EmbeddingSettings(url: given, model: "m", dimension: 3).url == expected)
    }

    @Test(arguments: ["h:1", "ftp://h", "http://", "http:///v1", "http://a:b@h/", "http://h /v1"])
    func `an address that is none is refused with a sentence`(given: String) {
        #expect(throws: EmbeddingError.self) {
            try EmbeddingSettings(url: given, model: "m", dimension: 3)
        }
    }

    @Test(arguments: ["", "a b", "a\r\nX-Evil: 1"])
    func `a key that cannot stand in a header is refused and not shown`(secret: String) throws {
        let settings = try EmbeddingSettings(url: "http://h", model: "m", dimension: 3)
        let error = failure { _ = try EmbeddingClient(settings, secret: secret) }
        #expect(error?.remedy == .fixSettings)
        if !secret.isEmpty { #expect(error?.description.contains(secret) == false) }
    }
}

@Suite struct AnswerFuzzTests {
    /// Bytes of good answers changed, dropped, doubled and swapped.
    @Test func `an answer is refused or gives unit vectors, whatever it holds`() {
        var state: UInt64 = 20_260_101
        func below(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(limit))
        }
        let reader = EmbeddingAnswer(maximumBytes: 1 << 16)
        let texts = ["a", "bb", "ccc"]
        let good = Array(answer(texts).utf8)
        let pieces = [
            "null", "NaN", "-", "1e999", "1e-60", "[]", "{}", "\"", ",", "0", "\"index\":0", "]",
            "}",
        ]
        let vectors = UnsafeMutableBufferPointer<Float>.allocate(capacity: 9)
        defer { vectors.deallocate() }
        var accepted = 0
        for round in 0..<40_000 {
            var bytes = good
            for _ in 0..<below(3) {
                let at = below(bytes.count)
                switch below(5) {
                case 0: bytes[at] = UInt8(below(256))
                case 1: bytes.remove(at: at)
                case 2: bytes.insert(contentsOf: pieces[below(pieces.count)].utf8, at: at)
                case 3: bytes.removeSubrange(at..<min(bytes.count, at + below(40)))
                default: bytes.swapAt(at, below(bytes.count))
                }
                if bytes.isEmpty { break }
            }
            vectors.initialize(repeating: .nan)
            let isRead = bytes.lend { slice in
                (try? reader.read(slice, texts: 3, dimension: 3, into: vectors)) != nil
            }
            guard isRead else { continue }
            accepted += 1
            for row in 0..<3 {
                let norm = (0..<3).reduce(0.0) {
                    $0 + Double(vectors[row * 3 + $1] * vectors[row * 3 + $1])
                }
                if abs(norm - 1) > 1e-5 {
                    Issue.record(
                        "round \(round): norm \(norm) of \(String(decoding: bytes, as: UTF8.self))")
                }
            }
        }
        #expect(accepted > 13_000 && accepted < 39_000, "\(accepted)")
    }
}
