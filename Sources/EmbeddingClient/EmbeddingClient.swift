// Vectors from a server that speaks OpenAI's POST /v1/embeddings: vLLM, llama.cpp, TEI, Ollama.

import Bytes
import CCurl
import JSON
import TextEncoding

#if canImport(Glibc)
    import Glibc
#endif

/// An encoder at the other end of HTTP. Used from one thread.
///
/// Requests go out in batches, several at a time. What may pass is tried again after a growing wait,
/// or after what the server asks for; what will not (a wrong key, address, model or dimension) is an
/// error that says what to correct. Of a request that the server refuses, or answers with numbers that
/// are no vector, each half is asked for alone, down to one text: where others get vectors and one
/// does not, it has none and becomes zeros.
///
/// Its identity is the model's name and the dimension: a server that serves another model under the
/// same name is not noticed.
public final class EmbeddingClient: TextEncoder {
    public let identity: EncoderIdentity
    public let dimension: Int
    private let settings: EmbeddingSettings
    private let secret: String?
    private let posts: OpaquePointer
    private let answer: EmbeddingAnswer
    private let wait: (Int) -> Void
    private var jitter: UInt64
    /// Vectors of a call that failed for others: the next call need not ask again.
    private var kept: [Hash128: [Float]] = [:]
    /// The server has made a vector since this client was made, so a refusal is about the text.
    private var hasAnswered = false

    /// Texts that the server has no vector for.
    public private(set) var refused: Int64 = 0
    /// Requests sent, repeated ones included.
    public private(set) var requests: Int64 = 0

    /// - Parameters:
    ///   - secret: sent as `Authorization: Bearer`, and never put into a message.
    ///   - wait: lets so many milliseconds pass.
    /// - Throws: where the secret cannot stand in a header, or libcurl cannot start.
    public init(
        _ settings: EmbeddingSettings, secret: String? = nil,
        wait: @escaping (Int) -> Void = { usleep(UInt32($0) * 1_000) }
    ) throws(EmbeddingError) {
        if let secret, secret.isEmpty || secret.utf8.contains(where: { $0 < 33 || $0 > 126 }) {
            throw EmbeddingError(
                "settings", .fixSettings,
                "the variable that text.secret_env names holds no key: it is empty, or has characters "
                    + "that cannot be sent; set it again")
        }
        self.settings = settings
        self.secret = secret
        self.wait = wait
        dimension = settings.dimension
        identity = EncoderIdentity(
            name: "\(settings.model)/server",
            parts: ["embeddings 1", settings.model, "\(settings.dimension)"])
        // A number takes 25 characters at most, and there is a sentence around each vector.
        let bytes = 65_536 + settings.batch * (settings.dimension * 32 + 1_024)
        answer = EmbeddingAnswer(maximumBytes: bytes)
        jitter = settings.seed
        let authorization = secret.map { "Authorization: Bearer \($0)" }
        let made = settings.url.withCString { url in
            withOptionalCString(authorization) { authorization in
                var options = http_posts_settings(
                    url: url, authorization: authorization,
                    connect_milliseconds: settings.connectMilliseconds,
                    total_milliseconds: settings.timeoutMilliseconds, answer_bytes_at_most: bytes,
                    concurrency: settings.concurrency)
                return http_posts_create(&options)
            }
        }
        guard let made else {
            throw EmbeddingError(
                "settings", .fixSettings, "libcurl cannot start; check its installation")
        }
        posts = made
    }

    deinit { http_posts_destroy(posts) }

    /// - Throws: `EmbeddingError`; then nothing in `vectors` counts.
    public func encode(_ texts: [[UInt8]], into vectors: UnsafeMutableBufferPointer<Float>) throws {
        precondition(
            vectors.count == texts.count * dimension,
            "\(texts.count) vectors of \(dimension) floats do not fit into \(vectors.count)")
        var chunks: [Chunk] = []
        var open = Chunk(rows: [])
        for row in texts.indices {
            if !kept.isEmpty, let known = kept[key(texts[row])] {
                for i in 0..<dimension { vectors[row * dimension + i] = known[i] }
                continue
            }
            open.rows.append(row)
            if open.rows.count == settings.batch {
                chunks.append(open)
                open = Chunk(rows: [])
            }
        }
        if !open.rows.isEmpty { chunks.append(open) }
        var done: Set<Int> = []
        do throws(EmbeddingError) {
            try work(&chunks, texts, vectors, &done)
            kept = [:]
        } catch {
            for row in done {
                kept[key(texts[row])] = Array(vectors[row * dimension..<(row + 1) * dimension])
            }
            throw error
        }
    }

    private func key(_ text: [UInt8]) -> Hash128 { text.lend { Hash128($0) } }

    /// Texts of one request.
    private struct Chunk {
        var rows: [Int]
        /// How often it has been sent.
        var attempts = 0
    }

    /// What became of a request.
    private enum Outcome {
        case done
        case retry(EmbeddingError, afterMilliseconds: Int)
        /// Something in it is not to the server's liking.
        case refused(EmbeddingError)
        case failed(EmbeddingError)
    }

    private func work(
        _ chunks: inout [Chunk], _ texts: [[UInt8]],
        _ vectors: UnsafeMutableBufferPointer<Float>, _ done: inout Set<Int>
    ) throws(EmbeddingError) {
        while !chunks.isEmpty {
            var pause = 0
            var next: [Chunk] = []
            var failure: EmbeddingError?
            let outcomes = send(chunks, texts, vectors)
            // A text is only to blame where the server makes vectors of others.
            for (chunk, outcome) in zip(chunks, outcomes) {
                if case .done = outcome {
                    done.formUnion(chunk.rows)
                    hasAnswered = true
                }
            }
            for (chunk, outcome) in zip(chunks, outcomes) {
                var again = chunk
                again.attempts += 1
                switch outcome {
                case .done: break
                case .failed(let error): failure = failure ?? error
                case .retry(let error, let milliseconds):
                    let backoff = max(milliseconds, self.backoff(again.attempts))
                    if again.attempts >= settings.attempts
                        || milliseconds > settings.longestWaitMilliseconds
                    {
                        failure = failure ?? error
                    } else {
                        pause = max(pause, min(backoff, settings.longestWaitMilliseconds))
                        next.append(again)
                    }
                case .refused(let error):
                    if chunk.rows.count > 1 {
                        let half = chunk.rows.count / 2
                        next.append(Chunk(rows: Array(chunk.rows[..<half])))
                        next.append(Chunk(rows: Array(chunk.rows[half...])))
                    } else if hasAnswered {
                        refused += 1
                        done.insert(chunk.rows[0])
                        for i in 0..<dimension { vectors[chunk.rows[0] * dimension + i] = 0 }
                    } else {
                        failure = failure ?? error
                    }
                }
            }
            if let failure { throw failure }
            chunks = next
            if pause > 0, !chunks.isEmpty { wait(pause) }
        }
    }

    /// Twice as long with each attempt; jitter, from a seed, keeps many clients apart.
    private func backoff(_ attempt: Int) -> Int {
        let whole = settings.backoffMilliseconds << min(10, attempt - 1)
        jitter = Hash128(jitter, UInt64(attempt)).low
        return whole - Int(jitter % UInt64(max(1, whole / 2 + 1)))
    }

    private func send(
        _ chunks: [Chunk], _ texts: [[UInt8]], _ vectors: UnsafeMutableBufferPointer<Float>
    ) -> [Outcome] {
        requests += Int64(chunks.count)
        var bodies = chunks.map { body($0, texts) }
        let starts = bodies.reduce(into: [0]) { $0.append($0.last! + $1.count) }
        let all = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, starts.last!))
        defer { all.deallocate() }
        for (i, body) in bodies.enumerated() {
            _ = UnsafeMutableBufferPointer(rebasing: all[starts[i]..<starts[i + 1]])
                .update(from: body)
        }
        bodies = []
        var requests = chunks.indices.map { i in
            var post = http_post()
            post.body = UnsafeRawPointer(all.baseAddress! + starts[i])
                .assumingMemoryBound(to: CChar.self)
            post.body_bytes = starts[i + 1] - starts[i]
            return post
        }
        requests.withUnsafeMutableBufferPointer {
            http_posts_send(posts, $0.baseAddress, $0.count)
        }
        defer { for i in requests.indices { http_post_clear(&requests[i]) } }
        return chunks.indices.map { outcome(requests[$0], chunks[$0], vectors) }
    }

    private func body(_ chunk: Chunk, _ texts: [[UInt8]]) -> [UInt8] {
        var buffer = ByteBuffer(capacity: 4_096)
        buffer.openRecord()
        buffer.member("encoding_format", "float" as StaticString)
        buffer.name("input")
        buffer.openArray()
        for row in chunk.rows {
            // What is not UTF-8 must not reach the server as such.
            String(decoding: texts[row], as: UTF8.self).lend { buffer.element($0) }
        }
        buffer.closeArray()
        settings.model.lend { buffer.member("model", $0) }
        buffer.closeObject()
        return buffer.slice.copy()
    }

    // Answers

    private func outcome(
        _ post: http_post, _ chunk: Chunk, _ vectors: UnsafeMutableBufferPointer<Float>
    ) -> Outcome {
        let server = "the embedding server \(settings.url)"
        switch post.fault {
        case HTTP_POST_UNREACHABLE:
            return .retry(
                EmbeddingError(
                    "unreachable", .retry,
                    "\(server) cannot be reached: \(text(post.message)); its texts wait"),
                afterMilliseconds: 0)
        case HTTP_POST_TIMEOUT:
            return .retry(
                EmbeddingError(
                    "timeout", .retry,
                    "\(server) did not answer in time (text.timeout_s): \(text(post.message)); its "
                        + "texts wait"), afterMilliseconds: 0)
        case HTTP_POST_TOO_LARGE:
            return .retry(
                EmbeddingError(
                    "answer", .retry,
                    "\(server) answered with more bytes than \(chunk.rows.count) vectors of "
                        + "\(dimension) numbers can have; nothing of it was kept"),
                afterMilliseconds: 0)
        case HTTP_POST_SETTINGS:
            return .failed(
                EmbeddingError(
                    "settings", .fixSettings,
                    "\(server) cannot be used: \(text(post.message)); correct text.url, or the "
                        + "certificates of this machine"))
        default: break
        }
        switch post.status {
        case 200..<300: return read(post, chunk, vectors, server)
        case 400, 413, 422:
            return .refused(
                EmbeddingError(
                    "settings", .fixSettings,
                    "\(server) refuses the request with \(post.status)\(quoted(post)); check "
                        + "text.model, text.batch and what the model takes"))
        case 401, 403:
            // What a server says about a key may quote it.
            return .failed(
                EmbeddingError(
                    "settings", .fixSettings,
                    "\(server) answers \(post.status): "
                        + (secret == nil
                            ? "it wants a key; put it into an environment variable and name that in "
                                + "text.secret_env"
                            : "it does not accept the key in the variable that text.secret_env names")
                ))
        case 404, 405:
            return .failed(
                EmbeddingError(
                    "settings", .fixSettings,
                    "\(server) answers \(post.status)\(quoted(post)): there is no such path or no "
                        + "model \"\(settings.model)\"; correct text.url or text.model"))
        case 300..<400:
            return .failed(
                EmbeddingError(
                    "settings", .fixSettings,
                    "\(server) answers \(post.status), a redirect, which is not followed because texts "
                        + "and key would go elsewhere; write the address it leads to into text.url")
            )
        case 429, 503:
            return .retry(
                EmbeddingError(
                    post.status == 429 ? "throttled" : "server", .retry,
                    "\(server) answers \(post.status)\(quoted(post)); its texts wait"),
                afterMilliseconds: min(max(0, post.retry_after_seconds), 86_400) * 1_000)
        default:
            return .retry(
                EmbeddingError(
                    "server", .retry,
                    "\(server) answers \(post.status)\(quoted(post)); its texts wait"),
                afterMilliseconds: 0)
        }
    }

    private func read(
        _ post: http_post, _ chunk: Chunk, _ vectors: UnsafeMutableBufferPointer<Float>,
        _ server: String
    ) -> Outcome {
        let made = UnsafeMutableBufferPointer<Float>.allocate(
            capacity: chunk.rows.count * dimension)
        defer { made.deallocate() }
        let bytes = ByteSlice(UnsafeRawBufferPointer(start: post.answer, count: post.answer_bytes))
        do throws(AnswerFault) {
            try answer.read(bytes, texts: chunk.rows.count, dimension: dimension, into: made)
        } catch {
            let sentence = "\(server) gave an answer that cannot be used: \(error.message)"
            switch error.kind {
            case .dimension:
                return .failed(
                    EmbeddingError(
                        "settings", .fixSettings,
                        "\(sentence); set text.dimension to what the model makes, or name another "
                            + "text.model"))
            case .vector:
                return .refused(
                    EmbeddingError("answer", .retry, "\(sentence); nothing of it was kept"))
            case .shape:
                return .retry(
                    EmbeddingError("answer", .retry, "\(sentence); nothing of it was kept"),
                    afterMilliseconds: 0)
            }
        }
        for (i, row) in chunk.rows.enumerated() {
            for j in 0..<dimension { vectors[row * dimension + j] = made[i * dimension + j] }
        }
        return .done
    }

    private func text(_ message: some Any) -> String {
        withUnsafeBytes(of: message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// The beginning of what the server said, without the secret.
    private func quoted(_ post: http_post) -> String {
        let bytes = UnsafeRawBufferPointer(start: post.answer, count: min(200, post.answer_bytes))
        var said = String(decoding: bytes, as: UTF8.self)
        if let secret {
            // A secret that the 200 bytes cut in two cannot be found in them.
            guard said.utf8.count < 200 else { return "" }
            while let found = said.firstRange(of: secret) { said.replaceSubrange(found, with: "…") }
        }
        said = String(said.map { $0.isNewline || $0 == "\t" ? " " : $0 })
        return said.isEmpty ? "" : " (\(said))"
    }
}

private func withOptionalCString<Result>(
    _ text: String?, _ body: (UnsafePointer<CChar>?) -> Result
) -> Result {
    guard let text else { return body(nil) }
    return text.withCString { body($0) }
}
