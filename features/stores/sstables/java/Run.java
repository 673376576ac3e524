import java.io.DataInputStream;
import java.io.IOException;

/**
 * Rows in the order of their keys' tokens, column by column, values serialised as Cassandra stores them.
 *
 * now: seconds since 1970, when what is deleted counts as deleted. deleted: by row, null: none is. expiries: by row, the
 * second in which it ends, 0: never; null: none does. ttls: by row, beside them.
 */
final class Run {
    final int rows;
    final long now;
    final boolean[] deleted;
    final int[] ttls;
    final Cells keys;
    final Cells[] columns;

    private Run(int rows, long now, boolean[] deleted, int[] ttls, Cells keys, Cells[] columns) {
        this.rows = rows;
        this.now = now;
        this.deleted = deleted;
        this.ttls = ttls;
        this.keys = keys;
        this.columns = columns;
    }

    static Run read(DataInputStream in) throws IOException {
        int rows = in.readInt();
        long now = in.readLong();
        Cells[] columns = new Cells[in.readInt()];
        boolean[] deleted = readFlags(in, rows);
        int[] ttls = in.readBoolean() ? readInts(in, rows) : null;
        Cells keys = Cells.read(in, rows);
        for (int at = 0; at < columns.length; at++) {
            columns[at] = Cells.read(in, rows);
        }
        return new Run(rows, now, deleted, ttls, keys, columns);
    }

    private static boolean[] readFlags(DataInputStream in, int count) throws IOException {
        if (!in.readBoolean()) {
            return null;
        }
        byte[] bytes = new byte[count];
        in.readFully(bytes);
        boolean[] flags = new boolean[count];
        for (int at = 0; at < count; at++) {
            flags[at] = bytes[at] != 0;
        }
        return flags;
    }

    private static int[] readInts(DataInputStream in, int count) throws IOException {
        byte[] bytes = new byte[4 * count];
        in.readFully(bytes);
        int[] numbers = new int[count];
        java.nio.ByteBuffer.wrap(bytes).asIntBuffer().get(numbers);
        return numbers;
    }

    /** One column: values of one width, or cut by offsets; nulls: by row, null: none is. */
    static final class Cells {
        private final byte[] data;
        private final int width;
        private final int[] offsets;
        private final boolean[] nulls;

        private Cells(byte[] data, int width, int[] offsets, boolean[] nulls) {
            this.data = data;
            this.width = width;
            this.offsets = offsets;
            this.nulls = nulls;
        }

        static Cells read(DataInputStream in, int rows) throws IOException {
            boolean[] nulls = readFlags(in, rows);
            int width = in.readInt();
            int[] offsets = width < 0 ? readInts(in, rows + 1) : null;
            byte[] data = new byte[width < 0 ? offsets[rows] : rows * width];
            in.readFully(data);
            return new Cells(data, width, offsets, nulls);
        }

        boolean isNull(int row) {
            return nulls != null && nulls[row];
        }

        byte[] value(int row) {
            int start = offsets == null ? row * width : offsets[row];
            int length = offsets == null ? width : offsets[row + 1] - start;
            byte[] value = new byte[length];
            System.arraycopy(data, start, value, 0, length);
            return value;
        }
    }
}
