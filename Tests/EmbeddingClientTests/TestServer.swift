// A small HTTP server on 127.0.0.1 that answers as a test says, well or badly.

import Foundation
import JSON
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// What the server does with one request.
enum Reply: Sendable {
    case answer(Int, headers: [String] = [], String)
    /// These bytes, whatever they are, and the end of the connection.
    case raw(String)
    /// Nothing, until the server stops or the client goes.
    case hang
    /// A head, then a byte every few milliseconds without end.
    case drip
}

/// Serves each connection on a thread; ends with `stop`.
final class TestServer: Sendable {
    struct Request: Sendable {
        var path: String
        var headers: [String: String]
        var body: String

        var texts: [String] {
            (try? JSONValue(parsing: body))?["input"]?.array?.compactMap(\.text) ?? []
        }
    }

    private struct State {
        var requests: [Request] = []
        var active = 0
        var mostActive = 0
    }

    private let listener: Int32
    private let stopping: (read: Int32, write: Int32)
    let port: Int
    private let state = Mutex(State())
    private let reply: @Sendable (Request, _ number: Int) -> Reply

    var url: String { "http://127.0.0.1:\(port)" }
    var requests: [Request] { state.withLock { $0.requests } }
    /// The most requests that were being answered at once.
    var mostActive: Int { state.withLock { $0.mostActive } }

    /// - Parameter reply: is told the request and its number, from 0.
    init(_ reply: @escaping @Sendable (Request, _ number: Int) -> Reply) {
        self.reply = reply
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, $0, &length) == 0
            }
        }
        precondition(bound, "no socket on 127.0.0.1")
        port = Int(UInt16(bigEndian: address.sin_port))
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0)
        stopping = (ends[0], ends[1])
        Thread { [self] in accept() }.start()
    }

    func stop() {
        close(stopping.write)
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private func accept() {
        while true {
            let connection = Glibc.accept(listener, nil, nil)
            guard connection >= 0 else {
                close(listener)
                return
            }
            Thread { [self] in
                while serve(connection) {}
                close(connection)
            }.start()
        }
    }

    /// Whether the connection can be used again.
    private func serve(_ connection: Int32) -> Bool {
        guard let request = read(connection) else { return false }
        let number = state.withLock { state in
            state.requests.append(request)
            state.active += 1
            state.mostActive = max(state.mostActive, state.active)
            return state.requests.count - 1
        }
        defer { state.withLock { $0.active -= 1 } }
        switch reply(request, number) {
        case .answer(let status, let headers, let body):
            let lines =
                ["HTTP/1.1 \(status) Said", "Content-Length: \(body.utf8.count)"] + headers
            return send(connection, lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
        case .raw(let text):
            _ = send(connection, text)
            return false
        case .hang:
            _ = wait(connection, milliseconds: -1)
            return false
        case .drip:
            guard send(connection, "HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n") else {
                return false
            }
            while !wait(connection, milliseconds: 5), send(connection, " ") {}
            return false
        }
    }

    /// Waits for the end of the server or of the client; false when the time is over.
    private func wait(_ connection: Int32, milliseconds: Int32) -> Bool {
        var watched = [
            pollfd(fd: stopping.read, events: 0, revents: 0),
            pollfd(fd: connection, events: Int16(POLLIN), revents: 0),
        ]
        return poll(&watched, 2, milliseconds) > 0
    }

    private func send(_ connection: Int32, _ text: String) -> Bool {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    private func read(_ connection: Int32) -> Request? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            if let head = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
                let lines = String(decoding: bytes[..<head.lowerBound], as: UTF8.self)
                    .components(separatedBy: "\r\n")
                var headers: [String: String] = [:]
                for line in lines.dropFirst() {
                    let parts = line.split(separator: ":", maxSplits: 1).map(String.init)
                    headers[parts[0].lowercased()] = parts.last!.trimmingCharacters(
                        in: .whitespaces)
                }
                let length = Int(headers["content-length"] ?? "0") ?? 0
                if bytes.count >= head.upperBound + length {
                    let body = bytes[head.upperBound..<head.upperBound + length]
                    return Request(
                        path: lines[0].components(separatedBy: " ")[1], headers: headers,
                        body: String(decoding: body, as: UTF8.self))
                }
            }
            let count = recv(connection, &chunk, chunk.count, 0)
            guard count > 0 else { return nil }
            bytes += chunk[..<count]
        }
    }
}

/// The vector that a good server makes of a text: 3 numbers, not of unit length.
func served(_ text: String) -> [Double] {
    let bytes = Array(text.utf8)
    return [Double(bytes.count) + 1, Double(bytes.first ?? 7), Double(bytes.last ?? 3) / 2]
}

/// A good answer, in an order of its own.
func answer(_ texts: [String], _ vector: (String) -> [Double] = served) -> String {
    let data = texts.enumerated().reversed().map { index, text in
        let numbers = vector(text).map { "\($0)" }.joined(separator: ",")
        return #"{"object":"embedding","index":\#(index),"embedding":[\#(numbers)]}"#
    }
    return
        #"{"object":"list","data":[\#(data.joined(separator: ","))],"model":"m","usage":{"total_tokens":1}}"#
}
