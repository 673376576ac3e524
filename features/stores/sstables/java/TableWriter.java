import java.io.DataInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.apache.cassandra.config.Config;
import org.apache.cassandra.config.DatabaseDescriptor;
import org.apache.cassandra.cql3.statements.schema.CreateTableStatement;
import org.apache.cassandra.db.Clustering;
import org.apache.cassandra.db.DecoratedKey;
import org.apache.cassandra.db.DeletionTime;
import org.apache.cassandra.db.LivenessInfo;
import org.apache.cassandra.db.RegularAndStaticColumns;
import org.apache.cassandra.db.SerializationHeader;
import org.apache.cassandra.db.rows.ArrayCell;
import org.apache.cassandra.db.rows.BTreeRow;
import org.apache.cassandra.db.rows.BufferCell;
import org.apache.cassandra.db.rows.Cell;
import org.apache.cassandra.db.rows.EncodingStats;
import org.apache.cassandra.db.rows.Row;
import org.apache.cassandra.db.rows.Rows;
import org.apache.cassandra.db.rows.Unfiltered;
import org.apache.cassandra.db.rows.UnfilteredRowIterator;
import org.apache.cassandra.dht.Murmur3Partitioner;
import org.apache.cassandra.io.sstable.Descriptor;
import org.apache.cassandra.io.sstable.SSTableId;
import org.apache.cassandra.io.sstable.SSTableIdFactory;
import org.apache.cassandra.io.sstable.SSTableTxnWriter;
import org.apache.cassandra.io.util.File;
import org.apache.cassandra.schema.ColumnMetadata;
import org.apache.cassandra.schema.TableId;
import org.apache.cassandra.schema.TableMetadata;
import org.apache.cassandra.schema.TableMetadataRef;
import org.apache.cassandra.service.ActiveRepairService;
import org.apache.cassandra.utils.BulkIterator;
import org.apache.cassandra.utils.StorageCompatibilityMode;
import org.apache.cassandra.utils.btree.BTree;
import org.apache.cassandra.utils.btree.UpdateFunction;

/**
 * One table, and the folder that its SSTables are written into. A row is what INSERT ... USING TIMESTAMP AND TTL of all
 * its columns would leave, a deletion what DELETE of its key would.
 *
 * The layer below CQLSSTableWriter: rows are built from values that are serialised already, which is several times as
 * fast as binding them to a statement, and the bloom filter is made for the number of keys.
 */
final class TableWriter {
    final TableMetadata metadata;
    private final TableMetadataRef reference;
    private final File folder;
    private final long timestamp;
    /** In the order in which SSTables hold them, and, beside each, the place of its values in a run. */
    private final ColumnMetadata[] columns;
    private final int[] places;
    private final Supplier<SSTableId> ids = SSTableIdFactory.instance.defaultBuilder().generator(Stream.empty());

    static {
        Config config = new Config();
        // The files are for Cassandra 5, whose own need no older reader: with this, TTLs reach to 2106.
        config.storage_compatibility_mode = StorageCompatibilityMode.NONE;
        // Keys are found in a trie. Nodes of Cassandra 5 read this format whichever they write.
        config.sstable.selected_format = "bti";
        DatabaseDescriptor.clientInitialization(true, () -> config);
        if (DatabaseDescriptor.getPartitioner() == null) {
            DatabaseDescriptor.setPartitionerUnsafe(Murmur3Partitioner.instance);
        }
    }

    private TableWriter(TableMetadata metadata, File folder, long timestamp, List<String> names) {
        this.metadata = metadata;
        this.reference = TableMetadataRef.forOfflineTools(metadata);
        this.folder = folder;
        this.timestamp = timestamp;
        List<ColumnMetadata> ordered = new ArrayList<>();
        metadata.regularColumns().forEach(ordered::add);
        columns = ordered.toArray(new ColumnMetadata[0]);
        places = new int[columns.length];
        for (int at = 0; at < columns.length; at++) {
            places[at] = names.indexOf(columns[at].name.toString());
        }
    }

    /** Fields: keyspace, CREATE TABLE, its id in the cluster, folder, write timestamp, how many columns but the keys, and their names. */
    static TableWriter open(DataInputStream in) throws IOException {
        String keyspace = SSTableChild.readText(in);
        String statement = SSTableChild.readText(in);
        TableId id = TableId.fromString(SSTableChild.readText(in));
        File folder = new File(SSTableChild.readText(in));
        long timestamp = in.readLong();
        List<String> names = new ArrayList<>();
        for (int left = in.readInt(); left > 0; left--) {
            names.add(SSTableChild.readText(in));
        }
        // Nodes that get a stream know the table by its id.
        TableMetadata metadata = CreateTableStatement.parse(statement, keyspace).id(id).build();
        return new TableWriter(metadata, folder, timestamp, names);
    }

    /** Write a run as one SSTable; how many bytes of data it holds. Of rows of one key there must be one. */
    long write(Run run) {
        RegularAndStaticColumns all = metadata.regularAndStaticColumns();
        // What numbers in the file are the differences to.
        EncodingStats stats = new EncodingStats(timestamp, run.now, 0);
        SerializationHeader header = new SerializationHeader(true, metadata, all, stats);
        Descriptor descriptor =
                new Descriptor(
                        folder,
                        metadata.keyspace,
                        metadata.name,
                        ids.get());
        try (SSTableTxnWriter writer =
                SSTableTxnWriter.create(
                        reference,
                        descriptor,
                        run.rows,
                        ActiveRepairService.UNREPAIRED_SSTABLE,
                        ActiveRepairService.NO_PENDING_REPAIR,
                        false,
                        header,
                        Collections.emptyList(),
                        null)) {
            DeletionTime gone = DeletionTime.build(timestamp, run.now);
            LivenessInfo live = LivenessInfo.create(timestamp, run.now);
            for (int at = 0; at < run.rows; at++) {
                DecoratedKey key = metadata.partitioner.decorateKey(ByteBuffer.wrap(run.keys.value(at)));
                boolean isGone = run.deleted != null && run.deleted[at];
                Row row = isGone ? null : row(run, at, live);
                writer.append(new Partition(key, row, isGone ? gone : DeletionTime.LIVE, all, stats));
            }
            long bytes = writer.getFilePointer();
            writer.finish(false);
            return bytes;
        }
    }

    private Row row(Run run, int at, LivenessInfo live) {
        int ttl = run.ttls == null ? Cell.NO_TTL : run.ttls[at];
        long expiry = ttl == Cell.NO_TTL ? Cell.NO_DELETION_TIME : run.now + ttl;
        Object[] cells = new Object[columns.length];
        for (int column = 0; column < columns.length; column++) {
            Run.Cells values = run.columns[places[column]];
            cells[column] =
                    values.isNull(at)
                            ? BufferCell.tombstone(columns[column], timestamp, run.now)
                            : new ArrayCell(columns[column], timestamp, ttl, expiry, values.value(at), null);
        }
        LivenessInfo liveness = ttl == Cell.NO_TTL ? live : LivenessInfo.withExpirationTime(timestamp, ttl, expiry);
        Object[] tree = BTree.build(BulkIterator.of(cells), cells.length, UpdateFunction.noOp());
        return BTreeRow.create(Clustering.EMPTY, liveness, Row.Deletion.LIVE, tree);
    }

    /** A key with its one row, or with none and a deletion. */
    private static final class Partition implements UnfilteredRowIterator {
        private final DecoratedKey key;
        private final DeletionTime deletion;
        private final RegularAndStaticColumns columns;
        private final EncodingStats stats;
        private Row next;

        Partition(DecoratedKey key, Row row, DeletionTime deletion, RegularAndStaticColumns columns, EncodingStats stats) {
            this.key = key;
            this.next = row;
            this.deletion = deletion;
            this.columns = columns;
            this.stats = stats;
        }

        @Override
        public TableMetadata metadata() {
            throw new UnsupportedOperationException();
        }

        @Override
        public boolean isReverseOrder() {
            return false;
        }

        @Override
        public RegularAndStaticColumns columns() {
            return columns;
        }

        @Override
        public DecoratedKey partitionKey() {
            return key;
        }

        @Override
        public Row staticRow() {
            return Rows.EMPTY_STATIC_ROW;
        }

        @Override
        public DeletionTime partitionLevelDeletion() {
            return deletion;
        }

        @Override
        public EncodingStats stats() {
            return stats;
        }

        @Override
        public boolean hasNext() {
            return next != null;
        }

        @Override
        public Unfiltered next() {
            Row row = next;
            next = null;
            return row;
        }

        @Override
        public void close() {}
    }
}
