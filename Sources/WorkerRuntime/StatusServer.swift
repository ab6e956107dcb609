// HTTP for operators: /metrics, /health/live, /health/ready, /status.

import CMicroHTTPD

#if canImport(Glibc)
    import Glibc
#endif

/// Serves the pages of a process on a thread of its own.
public final class StatusServer {
    private let server: OpaquePointer
    private let pages: Pages

    /// What the C side holds a pointer to.
    fileprivate final class Pages {
        let status: any StatusPages
        init(_ status: any StatusPages) { self.status = status }
    }

    /// - Parameter address: `127.0.0.1:9100`; `:9100` listens on every address, port 0 takes a free one.
    public init(_ status: any StatusPages, address: String) throws {
        guard let colon = address.lastIndex(of: ":"),
            let port = UInt16(address[address.index(after: colon)...])
        else { throw WorkerSettingsError("--http \(address) is not of the form ADDRESS:PORT") }
        let host = colon == address.startIndex ? "0.0.0.0" : String(address[..<colon])
        pages = Pages(status)
        guard
            let server = http_server_start(
                host == "localhost" ? "127.0.0.1" : host, port, answer,
                Unmanaged.passUnretained(pages).toOpaque())
        else {
            throw WorkerSettingsError(
                "--http \(address): cannot listen there: \(String(cString: strerror(errno)))")
        }
        self.server = server
    }

    deinit { http_server_stop(server) }

    public var port: Int { Int(http_server_port(server)) }
}

/// Runs on the server's thread; everything it reads is behind the status' lock.
private func answer(
    _ path: UnsafePointer<CChar>?, _ context: UnsafeMutableRawPointer?
) -> http_response {
    let status = Unmanaged<StatusServer.Pages>.fromOpaque(context!).takeUnretainedValue().status
    switch path.map({ String(cString: $0) }) ?? "" {
    case "/metrics": return response(200, "text/plain; version=0.0.4", status.metrics)
    case "/status": return response(200, "application/json", status.json + "\n")
    case "/health/live":
        let reason = status.deadBecause
        return response(reason == nil ? 200 : 503, "text/plain", "\(reason ?? "live")\n")
    case "/health/ready":
        let reason = status.unreadyBecause
        return response(reason == nil ? 200 : 503, "text/plain", "\(reason ?? "ready")\n")
    default:
        return response(
            404, "text/plain", "/metrics /status /health/live /health/ready\n")
    }
}

private func response(_ code: UInt32, _ type: StaticString, _ text: String) -> http_response {
    var text = text
    return text.withUTF8 { bytes in
        let copy = malloc(max(1, bytes.count))!.assumingMemoryBound(to: CChar.self)
        if let base = bytes.baseAddress { memcpy(copy, base, bytes.count) }
        // A static string lives as long as the process, as libmicrohttpd needs it.
        return http_response(
            status: code,
            content_type: UnsafeRawPointer(type.utf8Start).assumingMemoryBound(to: CChar.self),
            text: copy, bytes: bytes.count)
    }
}
