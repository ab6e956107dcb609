// What a fleet can set about the gateway, with the defaults of the contracts.

import Contracts

/// Settings of the gateway.
public struct GatewaySettings: Sendable, Equatable {
    /// The fleet's name: the value of the header that its own ticks carry.
    public var fleet = "coldstream"
    /// How far a line may lie ahead of the newest accepted one.
    public var jumpMilliseconds: Int64 = 86_400_000
    /// So many lines in a row that agree on a new time make it the time.
    public var linesThatAgree = 100
    /// How long a pipe is waited for, in all, when lines behind a jump are to tell what it is.
    public var pipePatienceMilliseconds = 5_000
    /// Lines appended in one transaction.
    public var linesPerTurn = 1_000

    /// Which worker writes, for the headers of dead letters.
    public var identity: WriterIdentity?

    public init() {}
}
