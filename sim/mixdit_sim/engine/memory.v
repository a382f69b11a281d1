// Ideal AXI4 memory: a fixed latency, a limited number of words a cycle, in order.
//
// A word is read `latency` cycles after its burst's address, or as soon later as the words before
// it have gone and there is credit; a response to a write comes `latency` cycles after its last
// word. Each cycle brings `gain` credit, of which at most two words' worth are kept; a word, read
// or written, costs `price`. Writes go first. Addresses beyond the end get DECERR; at the faulty
// word of port `fault_port` the response is `fault`, if that is not 0.
module mixdit_memory #(
    parameter ADDRESS_BITS = 40,
    parameter PORT_BYTES = 32,
    parameter WORDS = 1024,
    parameter PORT = 0
) (
    input clk,
    input rst,
    input [15:0] latency,
    input [15:0] gain,
    input [15:0] price,
    input [1:0] fault,
    input [31:0] fault_word,
    input [7:0] fault_port,
    input load,
    input dump,
    input [31:0] number,
    input [31:0] dump_first,
    input [31:0] dump_last,
    input [ADDRESS_BITS-1:0] araddr,
    input [7:0] arlen,
    input arvalid,
    output arready,
    output reg [8*PORT_BYTES-1:0] rdata,
    output reg [1:0] rresp,
    output reg rlast,
    output reg rvalid,
    input rready,
    input [ADDRESS_BITS-1:0] awaddr,
    input [7:0] awlen,
    input awvalid,
    output awready,
    input [8*PORT_BYTES-1:0] wdata,
    input [PORT_BYTES-1:0] wstrb,
    input wlast,
    input wvalid,
    output wready,
    output reg [1:0] bresp,
    output reg bvalid,
    input bready
);
  localparam SHIFT = $clog2(PORT_BYTES);
  localparam DEPTH = 64;
  localparam WORD_BITS = ADDRESS_BITS - SHIFT;

  reg [8*PORT_BYTES-1:0] words[0:WORDS-1];
  reg [31:0] now;
  reg [17:0] credit;

  reg [WORD_BITS-1:0] ar_word[0:DEPTH-1];
  reg [7:0] ar_len[0:DEPTH-1];
  reg [31:0] ar_time[0:DEPTH-1];
  reg [6:0] ar_in, ar_out;
  reg [7:0] r_count;

  reg [WORD_BITS-1:0] aw_word[0:DEPTH-1];
  reg [6:0] aw_in, aw_out;
  reg [31:0] w_count;
  reg [1:0] w_resp;

  reg [31:0] b_time[0:DEPTH-1];
  reg [1:0] b_resp[0:DEPTH-1];
  reg [6:0] b_in, b_out;

  wire [17:0] most = {1'b0, price, 1'b0};
  wire [17:0] funds = credit + gain > most ? most : credit + gain;

  assign arready = ar_in - ar_out != DEPTH;
  assign awready = aw_in - aw_out != DEPTH;
  assign wready = aw_in != aw_out && b_in - b_out != DEPTH && funds >= {2'b0, price};

  wire put = wvalid && wready;
  wire [17:0] left = put ? funds - price : funds;
  wire [WORD_BITS:0] put_word = aw_word[aw_out[5:0]] + w_count;
  wire get = (!rvalid || rready) && ar_in != ar_out && now - ar_time[ar_out[5:0]] < 32'h80000000
             && left >= {2'b0, price};
  wire [WORD_BITS:0] get_word = ar_word[ar_out[5:0]] + r_count;
  wire faulty = fault_port == PORT;
  wire [1:0] get_resp = get_word >= WORDS ? 3 : faulty && get_word == fault_word ? fault : 0;
  wire [1:0] put_resp = put_word >= WORDS ? 3 : faulty && put_word == fault_word ? fault : w_resp;

  reg [8*64-1:0] name;
  integer i;
  initial begin
    rvalid = 0;
    bvalid = 0;
    for (i = 0; i < WORDS; i = i + 1) words[i] = 0;
  end

  always @(posedge clk) begin
    if (load) begin
      $sformat(name, "image_%0d_%0d.hex", number, PORT);
      $readmemh(name, words);
    end
    if (dump) begin
      $sformat(name, "result_%0d_%0d.hex", number, PORT);
      $writememh(name, words, dump_first, dump_last);
    end
    if (rst) begin
      now <= 0;
      credit <= 0;
      ar_in <= 0;
      ar_out <= 0;
      r_count <= 0;
      rvalid <= 0;
      aw_in <= 0;
      aw_out <= 0;
      w_count <= 0;
      w_resp <= 0;
      b_in <= 0;
      b_out <= 0;
      bvalid <= 0;
    end else begin
      now <= now + 1;
      credit <= get ? left - price : left;
      if (arvalid && arready) begin
        ar_word[ar_in[5:0]] <= araddr[ADDRESS_BITS-1:SHIFT];
        ar_len[ar_in[5:0]] <= arlen;
        ar_time[ar_in[5:0]] <= now + latency;
        ar_in <= ar_in + 1;
      end
      if (get) begin
        rvalid <= 1;
        rdata <= get_word < WORDS ? words[get_word] : 0;
        rresp <= get_resp;
        rlast <= r_count == ar_len[ar_out[5:0]];
        r_count <= r_count + 1;
        if (r_count == ar_len[ar_out[5:0]]) begin
          r_count <= 0;
          ar_out <= ar_out + 1;
        end
      end else if (rready) rvalid <= 0;
      if (awvalid && awready) begin
        aw_word[aw_in[5:0]] <= awaddr[ADDRESS_BITS-1:SHIFT];
        aw_in <= aw_in + 1;
      end
      if (put) begin
        if (put_word < WORDS)
          for (i = 0; i < PORT_BYTES; i = i + 1)
            if (wstrb[i]) words[put_word][8*i+:8] <= wdata[8*i+:8];
        w_count <= w_count + 1;
        w_resp <= put_resp;
        if (wlast) begin
          w_count <= 0;
          w_resp <= 0;
          aw_out <= aw_out + 1;
          b_time[b_in[5:0]] <= now + latency;
          b_resp[b_in[5:0]] <= put_resp;
          b_in <= b_in + 1;
        end
      end
      if (!bvalid || bready) begin
        bvalid <= 0;
        if (b_in != b_out && now - b_time[b_out[5:0]] < 32'h80000000) begin
          bvalid <= 1;
          bresp <= b_resp[b_out[5:0]];
          b_out <= b_out + 1;
        end
      end
    end
  end
endmodule
