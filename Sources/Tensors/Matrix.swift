// Views of matrices inside one block of memory, and their product.

import COpenBLAS

/// Rows of floats somewhere in a block that somebody else owns.
///
/// A view is an address and three sizes: valid as long as the block is.
@frozen
public struct Matrix {
    public let base: UnsafeMutablePointer<Float>
    public let rows: Int
    public let columns: Int
    /// Floats from the start of one row to the start of the next.
    public let stride: Int

    @inlinable @inline(__always)
    public init(
        _ base: UnsafeMutablePointer<Float>, _ rows: Int, _ columns: Int, stride: Int? = nil
    ) {
        self.base = base
        self.rows = rows
        self.columns = columns
        self.stride = stride ?? columns
    }

    @inlinable @inline(__always)
    public func row(_ r: Int) -> UnsafeMutablePointer<Float> { base + r &* stride }

    /// Rows `lower` up to, not including, `upper`.
    @inlinable @inline(__always)
    public func rows(_ lower: Int, _ upper: Int) -> Matrix {
        Matrix(base + lower &* stride, upper &- lower, columns, stride: stride)
    }

    /// Columns `lower` up to, not including, `upper`.
    @inlinable @inline(__always)
    public func columns(_ lower: Int, _ upper: Int) -> Matrix {
        Matrix(base + lower, rows, upper &- lower, stride: stride)
    }
}

/// Products of matrices.
///
/// Small products are computed by our own kernels, large ones by OpenBLAS; which of the two depends
/// on the sizes alone, so equal sizes give equal bits.
public enum Product {
    /// Rows of one padded tile: what `linearTiled` hands to OpenBLAS at a time.
    public static let tileRows = 32

    /// c = a bᵀ, or c += a bᵀ: what a linear layer with weights b (out, in) makes of the rows of a.
    ///
    /// - Parameters:
    ///   - c: (B, out). - a: (B, in). - b: (out, in).
    public static func linear(_ c: Matrix, _ a: Matrix, _ b: Matrix, accumulate: Bool = false) {
        precondition(
            c.rows == a.rows && c.columns == b.rows && a.columns == b.columns,
            "(\(c.rows),\(c.columns)) = (\(a.rows),\(a.columns)) (\(b.rows),\(b.columns))ᵀ")
        if a.rows == 0 { return }
        if a.rows <= Kernels.fewRows {
            Kernels.linearFew(
                c.base, c.stride, a.base, a.stride, b.base, b.stride, rows: a.rows,
                columns: b.rows, depth: a.columns, accumulate: accumulate)
            return
        }
        cs_sgemm(
            0, 1, Int32(a.rows), Int32(b.rows), Int32(a.columns), a.base, Int32(a.stride), b.base,
            Int32(b.stride), accumulate ? 1 : 0, c.base, Int32(c.stride))
    }

    /// c = a b, or c += a b: gradients on their way back through a linear layer.
    ///
    /// - Parameters:
    ///   - c: (B, in). - a: (B, out). - b: (out, in).
    public static func back(_ c: Matrix, _ a: Matrix, _ b: Matrix, accumulate: Bool = false) {
        precondition(
            c.rows == a.rows && c.columns == b.columns && a.columns == b.rows,
            "(\(c.rows),\(c.columns)) = (\(a.rows),\(a.columns)) (\(b.rows),\(b.columns))")
        if a.rows == 0 { return }
        if a.rows <= Kernels.fewRows {
            Kernels.backFew(
                c.base, c.stride, a.base, a.stride, b.base, b.stride, rows: a.rows,
                columns: b.columns, depth: a.columns, accumulate: accumulate)
            return
        }
        cs_sgemm(
            0, 0, Int32(a.rows), Int32(b.columns), Int32(a.columns), a.base, Int32(a.stride),
            b.base, Int32(b.stride), accumulate ? 1 : 0, c.base, Int32(c.stride))
    }

    /// c = aᵀ b, or c += aᵀ b: the gradient of a weight matrix.
    ///
    /// - Parameters:
    ///   - c: (out, in). - a: (B, out), gradients. - b: (B, in), what the layer saw.
    public static func weights(_ c: Matrix, _ a: Matrix, _ b: Matrix, accumulate: Bool = false) {
        precondition(
            c.rows == a.columns && c.columns == b.columns && a.rows == b.rows,
            "(\(c.rows),\(c.columns)) = (\(a.rows),\(a.columns))ᵀ (\(b.rows),\(b.columns))")
        if a.rows <= Kernels.fewRows {
            Kernels.weightsFew(
                c.base, c.stride, a.base, a.stride, b.base, b.stride, batch: a.rows,
                rows: a.columns, columns: b.columns, accumulate: accumulate)
            return
        }
        cs_sgemm(
            1, 0, Int32(a.columns), Int32(b.columns), Int32(a.rows), a.base, Int32(a.stride),
            b.base, Int32(b.stride), accumulate ? 1 : 0, c.base, Int32(c.stride))
    }

    /// c = a bᵀ in tiles of 32 rows, the last one filled with zeros: the bits of a row depend on
    /// that row and b alone, neither on its neighbours nor on its place.
    ///
    /// - Parameters:
    ///   - scratch: at least 32 · (in + out) floats, overwritten.
    public static func linearTiled(
        _ c: Matrix, _ a: Matrix, _ b: Matrix, scratch: UnsafeMutablePointer<Float>
    ) {
        precondition(
            c.rows == a.rows && c.columns == b.rows && a.columns == b.columns,
            "(\(c.rows),\(c.columns)) = (\(a.rows),\(a.columns)) (\(b.rows),\(b.columns))ᵀ")
        let tile = tileRows
        var row = 0
        while row + tile <= a.rows {
            cs_sgemm(
                0, 1, Int32(tile), Int32(b.rows), Int32(a.columns), a.row(row), Int32(a.stride),
                b.base, Int32(b.stride), 0, c.row(row), Int32(c.stride))
            row += tile
        }
        let rest = a.rows - row
        if rest == 0 { return }
        let input = scratch
        let output = scratch + tile * a.columns
        for r in 0..<rest {
            (input + r * a.columns).update(from: a.row(row + r), count: a.columns)
        }
        (input + rest * a.columns).update(repeating: 0, count: (tile - rest) * a.columns)
        cs_sgemm(
            0, 1, Int32(tile), Int32(b.rows), Int32(a.columns), input, Int32(a.columns), b.base,
            Int32(b.stride), 0, output, Int32(b.rows))
        for r in 0..<rest { c.row(row + r).update(from: output + r * b.rows, count: b.rows) }
    }
}
