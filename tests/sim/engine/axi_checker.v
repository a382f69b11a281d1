// Notices what an AXI4 master must not do: change an offer, end a burst elsewhere than its address
// said, cross 4 KiB. Sticky until reset.
module axi_checker #(
    parameter ADDRESS_BITS = 40,
    parameter PORT_BYTES = 8
) (
    input clk,
    input rst,
    input [ADDRESS_BITS-1:0] araddr,
    input [7:0] arlen,
    input [2:0] arsize,
    input [1:0] arburst,
    input arvalid,
    input arready,
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
    output reg violation
);
  localparam SIZE = $clog2(PORT_BYTES);
  localparam A = ADDRESS_BITS + 13;
  localparam W = 9 * PORT_BYTES + 1;

  wire [A-1:0] ar = {araddr, arlen, arsize, arburst};
  wire [A-1:0] aw = {awaddr, awlen, awsize, awburst};
  wire [W-1:0] w = {wdata, wstrb, wlast};
  reg [A-1:0] ar_held, aw_held;
  reg [W-1:0] w_held;
  reg ar_waits, aw_waits, w_waits;
  reg [7:0] lengths[0:63];
  reg [6:0] put, take;
  reg [7:0] count;

  wire [12:0] ar_end = {1'b0, araddr[11:0]} + ((arlen + 13'd1) << SIZE) - 13'd1;
  wire [12:0] aw_end = {1'b0, awaddr[11:0]} + ((awlen + 13'd1) << SIZE) - 13'd1;
  wire bad_ar = arvalid && (ar_end[12] || arsize != SIZE || arburst != 1);
  wire bad_aw = awvalid && (aw_end[12] || awsize != SIZE || awburst != 1);
  wire bad_w = wvalid && wready && wlast != (count == lengths[take[5:0]]);
  wire changed = (ar_waits && (!arvalid || ar != ar_held))
               || (aw_waits && (!awvalid || aw != aw_held))
               || (w_waits && (!wvalid || w != w_held));

  always @(posedge clk) begin
    if (rst) begin
      violation <= 0;
      ar_waits <= 0;
      aw_waits <= 0;
      w_waits <= 0;
      put <= 0;
      take <= 0;
      count <= 0;
    end else begin
      violation <= violation || bad_ar || bad_aw || bad_w || changed;
      ar_waits <= arvalid && !arready;
      aw_waits <= awvalid && !awready;
      w_waits <= wvalid && !wready;
      ar_held <= ar;
      aw_held <= aw;
      w_held <= w;
      if (awvalid && awready) begin
        lengths[put[5:0]] <= awlen;
        put <= put + 1;
      end
      if (wvalid && wready) begin
        count <= wlast ? 0 : count + 1;
        if (wlast) take <= take + 1;
      end
    end
  end
endmodule
