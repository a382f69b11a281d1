// Watches an AXI4 port of the engine and its memory for what the standard forbids.
//
// `broken` has a bit for each rule and stays set. `open` tells that reads or writes are under way.
//   0-4  what is offered on AR, AW, W, R, B stays until it is taken
//   5-6  a burst of AR, AW: whole words, rising, aligned, not across 4 KB
//   7    WLAST at a burst's last word, and no word without a burst
//   8    RLAST at a burst's last word, and no word without a burst
//   9    no response without a write that is complete
module mixdit_axi_monitor #(
    parameter ADDRESS_BITS = 40,
    parameter PORT_BYTES = 32
) (
    input clk,
    input rst,
    output reg [9:0] broken,
    output open,
    input [ADDRESS_BITS-1:0] araddr,
    input [7:0] arlen,
    input [2:0] arsize,
    input [1:0] arburst,
    input arvalid,
    input arready,
    input [8*PORT_BYTES-1:0] rdata,
    input [1:0] rresp,
    input rlast,
    input rvalid,
    input rready,
    input [ADDRESS_BITS-1:0] awaddr,
    input [7:0] awlen,
    input [2:0] awsize,
    input [1:0] awburst,
    input awvalid,
    input awready,
    input [8*PORT_BYTES-1:0] wdata,
    input [PORT_BYTES-1:0] wstrb,
    input wlast,
    input wvalid,
    input wready,
    input [1:0] bresp,
    input bvalid,
    input bready
);
  localparam DEPTH = 1024;
  localparam SHIFT = $clog2(PORT_BYTES);

  wire [4:0] dropped;
  mixdit_axi_hold #(.BITS(ADDRESS_BITS + 13)) hold_ar (
    .clk(clk), .rst(rst), .valid(arvalid), .ready(arready),
    .payload({araddr, arlen, arsize, arburst}), .broken(dropped[0])
  );
  mixdit_axi_hold #(.BITS(ADDRESS_BITS + 13)) hold_aw (
    .clk(clk), .rst(rst), .valid(awvalid), .ready(awready),
    .payload({awaddr, awlen, awsize, awburst}), .broken(dropped[1])
  );
  mixdit_axi_hold #(.BITS(9 * PORT_BYTES + 1)) hold_w (
    .clk(clk), .rst(rst), .valid(wvalid), .ready(wready),
    .payload({wdata, wstrb, wlast}), .broken(dropped[2])
  );
  mixdit_axi_hold #(.BITS(8 * PORT_BYTES + 3)) hold_r (
    .clk(clk), .rst(rst), .valid(rvalid), .ready(rready),
    .payload({rdata, rresp, rlast}), .broken(dropped[3])
  );
  mixdit_axi_hold #(.BITS(2)) hold_b (
    .clk(clk), .rst(rst), .valid(bvalid), .ready(bready), .payload(bresp), .broken(dropped[4])
  );

  reg [7:0] reads[0:DEPTH-1];
  reg [9:0] read_in, read_out;
  reg [7:0] read_count;
  reg [7:0] writes[0:DEPTH-1];
  reg [9:0] write_in, write_out;
  reg [7:0] write_count;
  reg [9:0] completed, answered;
  // Data may come before its address is taken, but not before it is offered.
  reg aw_known;

  wire [12:0] ar_end = {1'b0, araddr[11:0]} + ((arlen + 13'd1) << SHIFT);
  wire [12:0] aw_end = {1'b0, awaddr[11:0]} + ((awlen + 13'd1) << SHIFT);
  wire aw_new = awvalid && !aw_known;
  wire [7:0] write_len = write_in == write_out ? awlen : writes[write_out];
  wire no_write = write_in == write_out && !aw_new;

  assign open = arvalid || awvalid || wvalid || read_in != read_out || write_in != write_out
                || completed != answered;

  initial broken = 0;

  always @(posedge clk) begin
    if (rst) begin
      read_in <= 0;
      read_out <= 0;
      read_count <= 0;
      write_in <= 0;
      write_out <= 0;
      write_count <= 0;
      completed <= 0;
      answered <= 0;
      aw_known <= 0;
    end else begin
      broken[4:0] <= broken[4:0] | dropped;
      if (arvalid && (arsize != SHIFT || arburst != 1 || araddr[SHIFT-1:0] != 0 || ar_end > 4096))
        broken[5] <= 1;
      if (awvalid && (awsize != SHIFT || awburst != 1 || awaddr[SHIFT-1:0] != 0 || aw_end > 4096))
        broken[6] <= 1;
      if (arvalid && arready) begin
        reads[read_in] <= arlen;
        read_in <= read_in + 1;
      end
      if (rvalid) begin
        if (read_in == read_out || rlast != (read_count == reads[read_out])) broken[8] <= 1;
        if (rready) begin
          read_count <= rlast ? 0 : read_count + 1;
          if (rlast) read_out <= read_out + 1;
        end
      end
      aw_known <= awvalid && !awready;
      if (aw_new) begin
        writes[write_in] <= awlen;
        write_in <= write_in + 1;
      end
      if (wvalid) begin
        if (no_write || wlast != (write_count == write_len)) broken[7] <= 1;
        if (wready) begin
          write_count <= wlast ? 0 : write_count + 1;
          if (wlast) begin
            write_out <= write_out + 1;
            completed <= completed + 1;
          end
        end
      end
      if (bvalid) begin
        if (completed == answered) broken[9] <= 1;
        if (bready) answered <= answered + 1;
      end
    end
  end
endmodule

// Whether something offered is taken back, or changes, before it is taken.
module mixdit_axi_hold #(
    parameter BITS = 1
) (
    input clk,
    input rst,
    input valid,
    input ready,
    input [BITS-1:0] payload,
    output broken
);
  reg waits;
  reg [BITS-1:0] offered;

  assign broken = waits && (!valid || payload != offered);

  initial waits = 0;

  always @(posedge clk) begin
    waits <= !rst && valid && !ready;
    offered <= payload;
  end
endmodule
